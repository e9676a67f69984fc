"""Synchronising every configured environment: a bad key or a slow environment never delays another."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Final, NoReturn

from ff_proxy.aio.keep_going import keep_going
from ff_proxy.aio.limiter import PatientLimiter
from ff_proxy.aio.waits import sleep_unless
from ff_proxy.errors import StoreUnavailable, UpstreamError, UpstreamRefused
from ff_proxy.model.clock import milliseconds
from ff_proxy.model.environment import EnvironmentConfig, UpstreamStatus
from ff_proxy.model.keys import EnvironmentId, KeyVerdict, SdkKey, SdkKeyHash
from ff_proxy.model.readiness import Readiness
from ff_proxy.telemetry.metrics import forget
from ff_proxy.upstream.context import UpstreamContext
from ff_proxy.upstream.credentials import Credentials, EnvironmentDirectory, Session
from ff_proxy.upstream.environment import Environment
from ff_proxy.upstream.failure_text import advice
from ff_proxy.upstream.key_tasks import KeyTasks
from ff_proxy.upstream.leadership import Leadership
from ff_proxy.upstream.silence_probe import SilenceProbe

# How many environments are authenticated at the same time.
_STARTING: Final = 16
_MAX_DOUBLINGS: Final = 5
_AUTHENTICATION: Final = "authentication"
_STORED: Final = "stored environments"
_LEAVING: Final = "its keys are gone, and it is served until every configured key is known"
_BAD_KEY: Final = "a key in api-keys is unknown to Harness or was deleted there; it will be tried again"
# How long the start waits for the store, and how often the store is checked while Harness does not respond.
_STORE_SECONDS: Final = 1.0
_STORE_CHECK_SECONDS: Final = 2.0


class Upstream:
    """The service that synchronises the store with Harness.

    ``ready`` is set once it runs; ``readiness`` describes its progress.

    Args:
        context: the APIs and the store.
        keys: the configured SDK keys, in any order; an environment may have several.
        directory: receives the credentials of each authenticated environment.
        leadership: decides when this process synchronises an environment.
        served: whether an environment is already served to SDKs, whoever synchronises it.
    """

    name = "upstream"

    def __init__(
        self,
        context: UpstreamContext,
        keys: Sequence[SdkKey],
        directory: EnvironmentDirectory,
        leadership: Leadership,
        served: Callable[[EnvironmentId], bool],
    ) -> None:
        telemetry, schedule = context.telemetry, context.schedule
        self._context = context
        self._tasks = KeyTasks(tuple(dict.fromkeys(keys)), self._keep_following, self._tasks_ended)
        self._leadership = leadership
        self._served = served
        self._api = context.api
        self._configs = context.configs
        self._directory = directory
        self._failures = telemetry.failures
        # Whose task leads an environment, or will; the tasks of its other keys wait for their turn.
        self._leading: dict[EnvironmentId, SdkKey] = {}
        self._turns: dict[EnvironmentId, asyncio.Lock] = {}
        self._telemetry = telemetry
        self._notices = telemetry.notices("upstream")
        self._schedule = schedule
        self._intervals = context.intervals
        self._starting = PatientLimiter(_STARTING, schedule.clock)
        self._pending: dict[SdkKey, str] = dict.fromkeys(keys, "not tried yet")
        self._refused: dict[SdkKey, str] = {}
        self._stored: dict[SdkKeyHash, EnvironmentId] = {}
        self._environments: dict[EnvironmentId, Environment] = {}
        # No configured key is known to be of them any more.
        self._leaving: set[EnvironmentId] = set()
        self._strangers_stored = not leadership.contested
        self._failed_terms: dict[EnvironmentId, int] = {}
        self._grown = False
        self._look = asyncio.Event()
        self._probe = SilenceProbe(lambda: list(self._environments.values()), telemetry, schedule)
        self.ready = asyncio.Event()
        self._metrics = telemetry.metrics
        telemetry.sampler.add(self._sample)

    async def run(self) -> None:
        """Synchronise every environment for ever."""
        self.ready.set()
        async with asyncio.TaskGroup() as tasks:
            # Start with Harness even if the store does not respond.
            stored = tasks.create_task(self._find_stored_environments())
            timeout = tasks.create_task(self._schedule.clock.sleep(_STORE_SECONDS))
            await asyncio.wait([stored, timeout], return_when=asyncio.FIRST_COMPLETED)
            timeout.cancel()
            tasks.create_task(self._keep_going(self._keep_comparing_store, "stored environments", ""))
            if self._leadership.contested:
                tasks.create_task(self._keep_going(self._probe.run, "probe", ""))
            await self._tasks.run()

    def configure(self, keys: Sequence[SdkKey]) -> None:
        """Synchronise the environments of these keys and of no others.

        What is served stays ready while new keys are tried. An environment whose keys are all gone is served
        until it is known that no new key is of it.
        """
        wanted = tuple(dict.fromkeys(keys))
        added = [key for key in wanted if key not in self._tasks.wanted]
        gone = [key for key in self._tasks.wanted if key not in wanted]
        self._grown |= bool(added) and self.readiness().ready
        self._pending |= dict.fromkeys(added, "not tried yet")
        for key in gone:
            self._forget_key(key)
        self._tasks.want(wanted)
        self._look.set()

    def _forget_key(self, key: SdkKey) -> None:
        self._pending.pop(key, None)
        self._refused.pop(key, None)
        stored = self._stored.pop(key.hash, None)
        if stored is not None:
            self._leaving.add(stored)
        for removal in self._directory.remove(key):
            if removal.last:
                self._leaving.add(removal.environment)
            elif removal.switched and removal.environment in self._leading:
                self._tasks.restart(self._leading[removal.environment])
        self._telemetry.harness.withdraw(doing=_AUTHENTICATION, key=key.masked)
        self._failures.withdraw(key.masked)

    def environments(self) -> frozenset[EnvironmentId]:
        """The known environments of the configured keys."""
        return frozenset({*self._configured(), *self._leaving})

    def settled(self) -> bool:
        """Whether every configured key was accepted and nobody else can be configured for more.

        Then nobody but ``environments`` can be served.
        """
        open_questions = self._pending or self._refused or self._leaving
        return not self._leadership.contested and not open_questions

    def given_up(self, environment: EnvironmentId) -> bool:
        """Whether no configured key is of ``environment``, as far as that can be known."""
        return environment in self._leaving or self.removed(environment)

    def removed(self, environment: EnvironmentId) -> bool:
        """Whether no key of ``environment`` is configured, here or at any other member."""
        return self.settled() and environment not in self.environments()

    def _configured(self) -> AbstractSet[EnvironmentId]:
        return {*self._directory.names, *self._stored.values()}

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
        # Other processes synchronise those that this one knows but does not lead.
        loaded |= self._turns.keys() - self._environments.keys()
        for name in sorted(filter(self._served, self._leaving)):
            loaded.add(name)
            degraded.append(f"environment {name}: {_LEAVING}")
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
        if served is None and environment in self._turns:  # another process leads it
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
                self._notices.info("fetching everything, the store may have lost changes", name)
                environment.refetch()

    async def _keep_comparing_store(self) -> None:
        """Check the store for environments of keys that Harness has not answered for, and of none."""
        while True:
            await sleep_unless(self._look, self._schedule.clock, _STORE_CHECK_SECONDS)
            self._look.clear()
            if self._leaving or any(key.hash not in self._stored for key in self._pending):
                found = await self._find_stored_environments()
                if not found:
                    continue
            try:
                await self._let_go()
            except StoreUnavailable as error:
                self._telemetry.trouble(error, _STORED)
            else:
                self._telemetry.recovered(_STORED)

    async def _find_stored_environments(self) -> bool:
        """Find the stored environments of the configured keys; ``False`` if the store does not respond."""
        hashes = {key.hash for key in (*self._pending, *self._refused)}
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
            return False
        return True

    def _look_if_all_known(self) -> None:
        # Not for each of a thousand keys: every look reads the whole store.
        if not self._pending:
            self._look.set()

    async def _let_go(self) -> None:
        """Let go of environments that no configured key is of, once that is known.

        Where nobody else can be configured for them, they are removed from the store, and SDKs learn of it.
        """
        if any(key.hash not in self._stored for key in self._pending):
            return
        if self._strangers_stored and not self._pending and not self._refused:
            # A former process had keys that this one has not.
            self._leaving |= set(await self._configs.environments()) - self._configured()
            self._strangers_stored = False
        self._leaving -= self._configured()
        for name in sorted(self._leaving - self._turns.keys()):
            if self._leadership.contested:
                await self._leadership.leave(name)
                self._notices.warning(
                    "environment is not configured here any more, others may serve it", name
                )
            else:
                await self._configs.remove(name)
                self._notices.warning("environment is not configured any more and was removed", name)
            self._leaving.discard(name)
            self._telemetry.withdraw(name)

    def _tasks_ended(self) -> None:
        for name in self._turns.keys() - self._directory.names - self._leading.keys():
            del self._turns[name]
            self._failed_terms.pop(name, None)
            for gauge in (self._metrics.leading, self._metrics.keys_age, self._metrics.upstream_connected):
                forget(gauge, name)
        self._look.set()

    async def _keep_following(self, key: SdkKey) -> None:
        await self._keep_going(partial(self._follow_key, key), "key of an environment", key.masked)

    async def _follow_key(self, key: SdkKey) -> None:
        session = await self._authenticate(key)
        credentials, fresh = self._directory.add_session(session, self._api.authenticate)
        name = credentials.environment.id
        turn = self._turns.setdefault(name, asyncio.Lock())
        if fresh:
            self._notices.info("environment found", name, identifier=credentials.environment.identifier)
        elif name in self._environments:
            await self._environments[name].accept(key.hash)
        self._pending.pop(key, None)
        self._refused.pop(key, None)
        self._look_if_all_known()
        # Another key of the environment may lead it already; if that is taken away, this one goes on.
        async with turn:
            self._leading[name] = key
            try:
                await self._keep_going(partial(self._lead, credentials), "environment", name)
            finally:
                del self._leading[name]

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
        environment = Environment(self._context, credentials, stored_config)
        self._environments[name] = environment
        self._metrics.leading.labels(name).set(1)
        try:
            await environment.run()
        finally:
            # While Harness is down for all, processes take turns more and more slowly.
            self._failed_terms[name] = (
                self._failed_terms.get(name, 0) + 1 if environment.response_tracker.unanswered_for else 0
            )
            del self._environments[name]
            self._metrics.leading.labels(name).set(0)
            self._metrics.keys_age.labels(name).set(0)
            self._telemetry.withdraw(name)
            if not self._environments:
                self._probe.withdraw()

    def _sample(self) -> None:
        for name, environment in self._environments.items():
            self._metrics.keys_age.labels(name).set(environment.keys_age)

    def _is_unreachable(self, name: EnvironmentId) -> bool:
        environment = self._environments.get(name)
        limit = self._intervals.relief * 2 ** min(self._failed_terms.get(name, 0), _MAX_DOUBLINGS)
        return environment is not None and environment.response_tracker.unanswered_for >= limit

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
                self._look_if_all_known()
                hint = advice(refused, "client-service") or _BAD_KEY
                self._telemetry.harness.failed(refused, _AUTHENTICATION, key=key.masked, advice=hint)
                await self._schedule.sleep_jittered(self._intervals.refused)
            except UpstreamError as error:
                if key in self._pending:
                    self._pending[key] = str(error)
                self._telemetry.harness.failed(error, _AUTHENTICATION, key=key.masked)
                await self._schedule.clock.sleep(backoff.next(error))
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
                await self._schedule.clock.sleep(backoff.next(error))
            else:
                self._telemetry.recovered(_STORED, environment)
                return config
