"""Synchronising every configured environment: a bad key or a slow environment never delays another."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import Final, NoReturn

from ff_proxy.aio.keep_going import keep_going
from ff_proxy.aio.limiter import PatientLimiter
from ff_proxy.errors import StoreUnavailable, UpstreamError, UpstreamRefused
from ff_proxy.model.clock import milliseconds
from ff_proxy.model.environment import EnvironmentConfig, UpstreamStatus
from ff_proxy.model.keys import EnvironmentId, SdkKey, SdkKeyHash
from ff_proxy.model.readiness import Readiness
from ff_proxy.model.verdict import KeyVerdict
from ff_proxy.store.protocol import ConfigStore, TargetStore
from ff_proxy.telemetry import Telemetry
from ff_proxy.upstream.admin import AdminApi
from ff_proxy.upstream.client import ClientApi
from ff_proxy.upstream.credentials import Credentials, EnvironmentDirectory, Session
from ff_proxy.upstream.environment import Environment, SharedUpstream
from ff_proxy.upstream.failure_text import advice
from ff_proxy.upstream.intervals import Schedule, SyncIntervals
from ff_proxy.upstream.leadership import Leadership
from ff_proxy.upstream.response_tracker import RequestKind

# How many environments are authenticated, fully fetched, and listed at the same time.
_STARTING: Final = 16
_FETCHING: Final = 16
_LISTING: Final = 4
# A hanging one loses its slot after this many seconds.
_MAX_SLOT_SECONDS: Final = 2.0
# If others could take over, probe Harness after this much silence, and this often while it lasts.
_SILENCE_SECONDS: Final = 4.0
_PROBE_INTERVAL: Final = 2.0
_PROBE_SECONDS: Final = 4.0
_PROBING: Final = 16
_MAX_DOUBLINGS: Final = 5
_AUTHENTICATION: Final = "authentication"
_PROBE: Final = "probe"
_STORED: Final = "stored environments"
_BAD_KEY: Final = "a key in api-keys is unknown to Harness or was deleted there; it will be tried again"
# How long the start waits for the store, and how often the store is checked while Harness does not respond.
_STORE_SECONDS: Final = 1.0
_STORE_CHECK_SECONDS: Final = 2.0


class _Reply(Enum):
    """What became of a probe."""

    ANSWER = "answer"
    REFUSAL = "refusal"
    SILENCE = "silence"


class Upstream:
    """The service that synchronises the store with Harness.

    ``ready`` is set once it runs; ``readiness`` describes its progress.

    Args:
        keys: the configured SDK keys, in any order; an environment may have several.
        directory: receives the credentials of each authenticated environment.
        leadership: decides when this process synchronises an environment.
        served: whether an environment is already served to SDKs, whoever synchronises it.
    """

    name = "upstream"

    def __init__(
        self,
        *,
        keys: Sequence[SdkKey],
        api: ClientApi,
        admin: AdminApi,
        configs: ConfigStore,
        targets: TargetStore,
        directory: EnvironmentDirectory,
        telemetry: Telemetry,
        schedule: Schedule,
        intervals: SyncIntervals,
        leadership: Leadership,
        served: Callable[[EnvironmentId], bool],
    ) -> None:
        self._keys = tuple(keys)
        self._leadership = leadership
        self._served = served
        self._api = api
        self._configs = configs
        self._directory = directory
        self._failures = telemetry.failures
        self._led: set[EnvironmentId] = set()
        self._telemetry = telemetry
        self._schedule = schedule
        self._intervals = intervals
        self._probing = PatientLimiter(_PROBING, _MAX_SLOT_SECONDS, schedule.clock)
        self._starting = PatientLimiter(_STARTING, _MAX_SLOT_SECONDS, schedule.clock)
        self._shared = SharedUpstream(
            api=api,
            admin=admin,
            configs=configs,
            targets=targets,
            telemetry=telemetry,
            schedule=schedule,
            intervals=intervals,
            fetching=PatientLimiter(_FETCHING, _MAX_SLOT_SECONDS, schedule.clock),
            listing=PatientLimiter(_LISTING, _MAX_SLOT_SECONDS, schedule.clock),
        )
        self._pending: dict[SdkKey, str] = dict.fromkeys(keys, "not tried yet")
        self._refused: dict[SdkKey, str] = {}
        self._stored: dict[SdkKeyHash, EnvironmentId] = {}
        self._environments: dict[EnvironmentId, Environment] = {}
        self._followed_by_others: set[EnvironmentId] = set()
        self._failed_terms: dict[EnvironmentId, int] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._grown = False
        self.ready = asyncio.Event()
        self._metrics = telemetry.metrics
        telemetry.sampler.add(self._sample)

    async def run(self) -> None:
        """Synchronise every environment for ever."""
        self.ready.set()
        try:
            await self._synchronise()
        finally:
            self._tasks = None

    async def _synchronise(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            # Start with Harness even if the store does not respond.
            stored = tasks.create_task(self._find_stored_environments())
            timeout = tasks.create_task(_sleep(self._schedule, _STORE_SECONDS))
            await asyncio.wait([stored, timeout], return_when=asyncio.FIRST_COMPLETED)
            timeout.cancel()
            tasks.create_task(self._keep_going(self._keep_finding_stored, "stored environments", ""))
            if self._leadership.contested:
                tasks.create_task(self._keep_going(self._probe, "probe", ""))
            self._tasks = tasks
            for key in self._keys:
                self._follow_key(key)

    def add_keys(self, keys: Sequence[SdkKey]) -> None:
        """Synchronise the environments of these keys as well; what is served stays ready meanwhile."""
        added = [key for key in dict.fromkeys(keys) if key not in self._keys]
        self._grown |= bool(added) and self.readiness().ready
        self._keys += tuple(added)
        self._pending |= dict.fromkeys(added, "not tried yet")
        if self._tasks is not None:
            for key in added:
                self._follow_key(key)

    def _follow_key(self, key: SdkKey) -> None:
        assert self._tasks is not None  # noqa: S101  (it runs)
        self._tasks.create_task(
            self._keep_going(partial(self._start_key, key), "key of an environment", key.masked)
        )

    def environments(self) -> frozenset[EnvironmentId]:
        """The known environments of the configured keys."""
        stored = self._stored.values()
        return frozenset({*self._environments, *self._followed_by_others, *stored})

    def readiness(self) -> Readiness:
        """The progress; what the store has counts once it is served here."""
        loaded = {name for name, environment in self._environments.items() if environment.loaded}
        pending: list[str] = []
        refused = [f"key {key.masked}: {reason}" for key, reason in self._refused.items()]
        degraded: list[str] = []
        for key, reason in self._pending.items():
            stored = self._stored.get(key.hash)
            if stored is None:
                pending.append(f"key {key.masked}: {reason}")
            else:
                loaded.add(stored)
                degraded.append(f"environment {stored}: serving stored data; {reason}")
        loaded.update(self._stored[key.hash] for key in self._refused if key.hash in self._stored)
        loaded |= self._followed_by_others
        for name, environment in self._environments.items():
            if not environment.loaded:
                problems = refused if environment.refused else pending
                problems.append(f"environment {name}: {environment.problem or 'not fetched yet'}")
            elif environment.problem:
                degraded.append(f"environment {name}: {environment.problem}")
        not_served = {name for name in loaded if not self._served(name)}
        loaded -= not_served
        pending += [f"environment {name}: not loaded from the store yet" for name in sorted(not_served)]
        if self._grown:
            # A key that came while others were served must not take them out of service.
            degraded += pending
            pending = []
        return Readiness(len(loaded), tuple(pending), tuple(refused), tuple(degraded))

    async def accept(self, environment: EnvironmentId, key: SdkKeyHash) -> KeyVerdict:
        """Add a key that Harness accepted for ``environment`` in a key check."""
        served = self._environments.get(environment)
        if served is None and environment in self._followed_by_others:
            forwarded = await self._leadership.forward_key(environment, key)
            return KeyVerdict.ACCEPTED if forwarded else KeyVerdict.UNAVAILABLE
        if served is None:
            # A configured key that has not been tried yet may be of this environment.
            return KeyVerdict.UNAVAILABLE if self._pending else KeyVerdict.REFUSED
        return await served.accept(key)

    async def accept_forwarded(self, environment: EnvironmentId, key: SdkKeyHash) -> None:
        """Add a key that another member forwards, if this process leads its environment."""
        served = self._environments.get(environment)
        if served is not None:
            await served.accept(key)

    def refetch(self, environments: Collection[EnvironmentId] | None) -> None:
        """Fetch the environments led here (``None``: all) again: the store may have lost data."""
        for name, environment in self._environments.items():
            if environments is None or name in environments:
                self._telemetry.notices("upstream").info(
                    "fetching everything, the store may have lost changes", name
                )
                environment.refetch()

    async def _keep_finding_stored(self) -> None:
        """Check the store while there are keys that Harness has not answered for."""
        while True:
            await self._schedule.sleep(_STORE_CHECK_SECONDS)
            if any(key.hash not in self._stored for key in self._pending):
                await self._find_stored_environments()

    async def _find_stored_environments(self) -> None:
        """Find the stored environments of the configured keys."""
        hashes = {key.hash for key in self._pending}
        known = set(self._stored.values())
        try:
            for name in await self._configs.environments():
                config = await self._configs.environment(name)
                if config is not None:
                    self._stored |= dict.fromkeys(hashes & config.keys, name)
            for name in set(self._stored.values()) - known - self._environments.keys():
                # The stored stream status is from a previous process.
                since = milliseconds(self._schedule.clock)
                await self._configs.set_status(name, UpstreamStatus(since=since))
        except StoreUnavailable as error:
            self._telemetry.trouble(error, _STORED)
        else:
            self._telemetry.recovered(_STORED)

    async def _start_key(self, key: SdkKey) -> None:
        session = await self._authenticate(key)
        credentials, fresh = self._directory.add_session(session, self._api.authenticate)
        name = credentials.environment.id
        if fresh:
            self._followed_by_others.add(name)
            self._telemetry.notices("upstream").info(
                "environment found", name, identifier=credentials.environment.identifier
            )
        elif name in self._environments:
            await self._environments[name].accept(key.hash)
        self._pending.pop(key, None)
        self._refused.pop(key, None)
        if name in self._led:
            await asyncio.get_running_loop().create_future()  # another key of it already runs this
        self._led.add(name)
        try:
            await self._keep_going(partial(self._lead, credentials), "environment", name)
        finally:
            self._led.discard(name)

    async def _lead(self, credentials: Credentials) -> None:
        name = credentials.environment.id
        await self._leadership.lead(
            name, partial(self._follow, credentials), partial(self._is_unreachable, name)
        )

    async def _keep_going(
        self, work: Callable[[], Awaitable[object]], service: str, subject: str
    ) -> NoReturn:
        await keep_going(
            work,
            service,
            subject=subject,
            clock=self._schedule.clock,
            random=self._schedule.random,
            failures=self._failures,
        )

    async def _follow(self, credentials: Credentials) -> None:
        """Synchronise one environment while this process leads it."""
        name = credentials.environment.id
        # The state of the last term may be old: start from what the store has now.
        stored_config = await self._read_stored(name)
        environment = Environment(credentials, stored_config, self._shared)
        self._environments[name] = environment
        self._followed_by_others.discard(name)
        self._metrics.leading.labels(name).set(1)
        try:
            await environment.run()
        finally:
            # While Harness is down for all, processes take turns more and more slowly.
            self._failed_terms[name] = (
                self._failed_terms.get(name, 0) + 1 if environment.response_tracker.unanswered_for else 0
            )
            del self._environments[name]
            self._followed_by_others.add(name)
            self._metrics.leading.labels(name).set(0)
            self._metrics.keys_age.labels(name).set(0)
            self._telemetry.withdraw(name)
            if not self._environments:
                self._telemetry.harness.withdraw(doing=_PROBE)

    def _sample(self) -> None:
        for name, environment in self._environments.items():
            self._metrics.keys_age.labels(name).set(environment.keys_age)

    def _is_unreachable(self, name: EnvironmentId) -> bool:
        environment = self._environments.get(name)
        limit = self._intervals.relief * 2 ** min(self._failed_terms.get(name, 0), _MAX_DOUBLINGS)
        return environment is not None and environment.response_tracker.unanswered_for >= limit

    async def _probe(self) -> None:
        """Detect early that Harness is unreachable, although no stream has broken."""
        last_response = self._schedule.clock.monotonic()
        pause = _SILENCE_SECONDS
        while True:
            await self._schedule.sleep(pause)
            environments = list(self._environments.values())
            last_activity = max(
                (environment.last_activity for environment in environments), default=last_response
            )
            pause = _PROBE_INTERVAL
            if not environments:
                continue
            silent = self._schedule.clock.monotonic() - max(last_activity, last_response)
            if silent < _SILENCE_SECONDS:
                # Not a moment later: this and all that follows has to fit into the time that is promised.
                pause = _SILENCE_SECONDS - silent
                self._telemetry.recovered(_PROBE)
                continue
            for environment in environments:
                environment.response_tracker.request_sent(RequestKind.PROBE)
            found = await self._probe_some(environments)
            if _Reply.SILENCE not in found.values() and _Reply.REFUSAL not in found.values():
                last_response = self._schedule.clock.monotonic()
            for environment, reply in found.items():
                if reply is _Reply.ANSWER:
                    environment.response_tracker.response_received(RequestKind.PROBE)

    async def _probe_some(self, environments: Sequence[Environment]) -> Mapping[Environment, "_Reply"]:
        """What Harness replies to each, as far as the reply to one does not speak for all.

        A refusal may be of one environment's key, or come from somebody between this process and Harness.
        """
        first = self._schedule.random.choice(environments)
        reply = await self._probe_one(first)
        if reply is not _Reply.REFUSAL:
            return dict.fromkeys(environments, reply)
        others = [environment for environment in environments if environment is not first]
        replies = await asyncio.gather(*map(self._probe_one, others))
        return {first: reply, **dict(zip(others, replies, strict=True))}

    async def _probe_one(self, environment: Environment) -> "_Reply":
        try:
            async with self._probing.place():
                await environment.probe(_PROBE_SECONDS)
        except UpstreamRefused as refused:
            # Of a path that is not there no other process would hear anything else.
            reply = _Reply.REFUSAL if refused.rejects_credentials else _Reply.ANSWER
        except UpstreamError as error:
            self._telemetry.trouble(error, _PROBE)
            return _Reply.SILENCE
        else:
            reply = _Reply.ANSWER
        self._telemetry.recovered(_PROBE)
        return reply

    async def _authenticate(self, key: SdkKey) -> Session:
        """Authenticate ``key``, retrying for ever."""
        backoff = self._schedule.backoff()
        while True:
            try:
                async with self._starting.place():
                    session = await self._api.authenticate(key)
            except UpstreamRefused as refused:
                self._pending.pop(key, None)
                self._refused[key] = f"refused by Harness with {refused.status}"
                hint = advice(refused, "client-service") or _BAD_KEY
                self._telemetry.harness.failed(refused, _AUTHENTICATION, key=key.masked, advice=hint)
                await self._schedule.sleep_jittered(self._intervals.refused)
            except UpstreamError as error:
                if key in self._pending:
                    self._pending[key] = str(error)
                self._telemetry.harness.failed(error, _AUTHENTICATION, key=key.masked)
                await self._schedule.sleep(backoff.next(error))
            else:
                self._telemetry.harness.answered(_AUTHENTICATION, key=key.masked)
                return session

    async def _read_stored(self, environment: EnvironmentId) -> EnvironmentConfig | None:
        backoff = self._schedule.backoff()
        while True:
            try:
                config = await self._configs.environment(environment)
            except StoreUnavailable as error:
                self._telemetry.trouble(error, _STORED, environment)
                await self._schedule.sleep(backoff.next(error))
            else:
                self._telemetry.recovered(_STORED, environment)
                return config


async def _sleep(schedule: Schedule, seconds: float) -> None:
    await schedule.sleep(seconds)
