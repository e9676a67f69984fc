"""Every configured environment, each on its own: one bad key or slow environment never delays another."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Final, NoReturn

from ff_proxy.aio.keep_going import keep_going
from ff_proxy.aio.limiter import PatientLimiter
from ff_proxy.errors import StoreUnavailable, UpstreamError, UpstreamRefused
from ff_proxy.model.environment import EnvironmentConfig, UpstreamStatus
from ff_proxy.model.keys import EnvironmentId, SdkKey, SdkKeyHash
from ff_proxy.model.readiness import Readiness
from ff_proxy.model.verdict import KeyVerdict
from ff_proxy.store.protocol import ConfigStore, TargetStore
from ff_proxy.telemetry import Telemetry
from ff_proxy.upstream.admin import AdminApi
from ff_proxy.upstream.client import ClientApi
from ff_proxy.upstream.contact import Question
from ff_proxy.upstream.credentials import Credentials, EnvironmentDirectory, Session
from ff_proxy.upstream.environment import Environment, SharedUpstream
from ff_proxy.upstream.failure_text import advice
from ff_proxy.upstream.intervals import Intervals, Schedule
from ff_proxy.upstream.leadership import Leadership

# How many environments are authenticated, fetched whole, and listed at the same time.
_STARTING: Final = 16
_FETCHING: Final = 16
_LISTING: Final = 4
# One that hangs holds its place for so many seconds, and no longer.
_PATIENCE: Final = 2.0
# Where others could take over, Harness is asked something small whenever it was silent for so long.
_PROBE_TICK: Final = 2.0
_SILENCE: Final = 3.0
_PROBE_SECONDS: Final = 4.0
_MOST_DOUBLINGS: Final = 5
_AUTHENTICATION: Final = "authentication"
_PROBE: Final = "probe"
_BAD_KEY: Final = "a key in api-keys is unknown to Harness, or was deleted there; it is tried again"
# How long the store may take at the start, and how often it is looked into while SaaS does not answer.
_STORE_SECONDS: Final = 1.0
_RECALL_SECONDS: Final = 2.0


class Upstream:
    """The service that keeps the store in step with SaaS.

    ``ready`` is set once it works; ``readiness`` says how far that has come.

    Args:
        keys: the configured SDK keys, in any order; several may be of one environment.
        directory: is filled with the credentials of each environment that lets us in.
        leadership: says when this process is the one that follows an environment.
        served: whether SDKs are served an environment already, whoever follows it.
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
        rhythm: Schedule,
        pace: Intervals,
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
        self._rhythm = rhythm
        self._pace = pace
        self._starting = PatientLimiter(_STARTING, _PATIENCE, rhythm.clock)
        self._shared = SharedUpstream(
            api=api,
            admin=admin,
            configs=configs,
            targets=targets,
            telemetry=telemetry,
            rhythm=rhythm,
            pace=pace,
            fetching=PatientLimiter(_FETCHING, _PATIENCE, rhythm.clock),
            listing=PatientLimiter(_LISTING, _PATIENCE, rhythm.clock),
        )
        self._pending: dict[SdkKey, str] = dict.fromkeys(keys, "not tried yet")
        self._refused: dict[SdkKey, str] = {}
        self._recalled: dict[SdkKeyHash, EnvironmentId] = {}
        self._environments: dict[EnvironmentId, Environment] = {}
        self._followed_by_others: set[EnvironmentId] = set()
        self._in_vain: dict[EnvironmentId, int] = {}
        self.ready = asyncio.Event()
        self._metrics = telemetry.metrics
        telemetry.sampler.add(self._sample)

    async def run(self) -> None:
        """Keep every environment in step for ever."""
        self.ready.set()
        async with asyncio.TaskGroup() as tasks:
            # SaaS does not wait for a store that does not answer.
            recalled = tasks.create_task(self._recall())
            waited = tasks.create_task(_sleep(self._rhythm, _STORE_SECONDS))
            await asyncio.wait([recalled, waited], return_when=asyncio.FIRST_COMPLETED)
            waited.cancel()
            tasks.create_task(self._keep_going(self._keep_recalling, "stored environments", ""))
            if self._leadership.contested:
                tasks.create_task(self._keep_going(self._probe, "probe", ""))
            for key in self._keys:
                tasks.create_task(
                    self._keep_going(partial(self._bring_up, key), "key of an environment", key.masked)
                )

    def environments(self) -> frozenset[EnvironmentId]:
        """The environments that the configured keys are of, as far as is known."""
        recalled = self._recalled.values()
        return frozenset({*self._environments, *self._followed_by_others, *recalled})

    def readiness(self) -> Readiness:
        """How far it has come; what the store holds counts once it is served here."""
        loaded = {name for name, environment in self._environments.items() if environment.loaded}
        pending: list[str] = []
        refused = [f"key {key.masked}: {why}" for key, why in self._refused.items()]
        degraded: list[str] = []
        for key, why in self._pending.items():
            recalled = self._recalled.get(key.hash)
            if recalled is None:
                pending.append(f"key {key.masked}: {why}")
            else:
                loaded.add(recalled)
                degraded.append(f"environment {recalled}: served as stored; {why}")
        loaded.update(self._recalled[key.hash] for key in self._refused if key.hash in self._recalled)
        loaded |= self._followed_by_others
        for name, environment in self._environments.items():
            if not environment.loaded:
                where = refused if environment.refused else pending
                where.append(f"environment {name}: {environment.trouble or 'not fetched yet'}")
            elif environment.trouble:
                degraded.append(f"environment {name}: {environment.trouble}")
        ahead = {name for name in loaded if not self._served(name)}
        loaded -= ahead
        pending += [f"environment {name}: not taken from the store yet" for name in sorted(ahead)]
        return Readiness(len(loaded), tuple(pending), tuple(refused), tuple(degraded))

    async def accept(self, environment: EnvironmentId, key: SdkKeyHash) -> KeyVerdict:
        """Take in a key that SaaS accepted for ``environment``: what a key check ends in."""
        served = self._environments.get(environment)
        if served is None and environment in self._followed_by_others:
            passed = await self._leadership.pass_on(environment, key)
            return KeyVerdict.ACCEPTED if passed else KeyVerdict.UNAVAILABLE
        if served is None:
            # While a configured key has not been tried, it may be of this very environment.
            return KeyVerdict.UNAVAILABLE if self._pending else KeyVerdict.REFUSED
        return await served.accept(key)

    async def take_in(self, environment: EnvironmentId, key: SdkKeyHash) -> None:
        """A key that SaaS accepted at another member: of an environment that is led here, it counts now."""
        served = self._environments.get(environment)
        if served is not None:
            await served.accept(key)

    def refetch(self, environments: Collection[EnvironmentId] | None) -> None:
        """Fetch these (``None``: all) that are led here whole: the store may have lost what was written."""
        for name, environment in self._environments.items():
            if environments is None or name in environments:
                self._telemetry.notices("upstream").info(
                    "fetching everything, the store may have lost changes", name
                )
                environment.refetch()

    async def _keep_recalling(self) -> None:
        """Look into the store for as long as there are keys that SaaS has not been asked about."""
        while True:
            await self._rhythm.sleep(_RECALL_SECONDS)
            if any(key.hash not in self._recalled for key in self._pending):
                await self._recall()

    async def _recall(self) -> None:
        """Find out which environments the store holds for the configured keys already."""
        hashes = {key.hash for key in self._pending}
        known = set(self._recalled.values())
        try:
            for name in await self._configs.environments():
                config = await self._configs.environment(name)
                if config is not None:
                    self._recalled |= dict.fromkeys(hashes & config.keys, name)
            for name in set(self._recalled.values()) - known - self._environments.keys():
                # What the store says of the stream is of a former life.
                since = int(self._rhythm.clock.wall() * 1000)
                await self._configs.set_status(name, UpstreamStatus(since=since))
        except StoreUnavailable as error:
            self._telemetry.trouble(error, "stored environments")

    async def _bring_up(self, key: SdkKey) -> None:
        session = await self._authenticate(key)
        credentials, fresh = self._directory.join(session, self._api.authenticate)
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
            await asyncio.get_running_loop().create_future()  # another key of it is brought up already
        self._led.add(name)
        try:
            await self._keep_going(partial(self._lead, credentials), "environment", name)
        finally:
            self._led.discard(name)

    async def _lead(self, credentials: Credentials) -> None:
        name = credentials.environment.id
        await self._leadership.lead(
            name, partial(self._follow, credentials), partial(self._is_hopeless, name)
        )

    async def _keep_going(
        self, work: Callable[[], Awaitable[object]], service: str, subject: str
    ) -> NoReturn:
        await keep_going(
            work,
            service,
            subject=subject,
            clock=self._rhythm.clock,
            random=self._rhythm.random,
            failures=self._failures,
        )

    async def _follow(self, credentials: Credentials) -> None:
        """Keep one environment in step while this process leads it."""
        name = credentials.environment.id
        # What the last term knew may be old: everything begins with what the store holds now.
        held = await self._held(name)
        environment = Environment(credentials, held, self._shared)
        self._environments[name] = environment
        self._followed_by_others.discard(name)
        self._metrics.leading.labels(name).set(1)
        try:
            await environment.run()
        finally:
            # While SaaS is away for everybody, processes take turns more and more slowly.
            self._in_vain[name] = self._in_vain.get(name, 0) + 1 if environment.contact.lost_for else 0
            del self._environments[name]
            self._followed_by_others.add(name)
            self._metrics.leading.labels(name).set(0)
            self._metrics.keys_age.labels(name).set(0)
            self._telemetry.harness.withdraw(name)
            if not self._environments:
                self._telemetry.harness.withdraw(doing=_PROBE)

    def _sample(self) -> None:
        for name, environment in self._environments.items():
            self._metrics.keys_age.labels(name).set(environment.keys_age)

    def _is_hopeless(self, name: EnvironmentId) -> bool:
        environment = self._environments.get(name)
        patience = self._pace.relief * 2 ** min(self._in_vain.get(name, 0), _MOST_DOUBLINGS)
        return environment is not None and environment.contact.lost_for >= patience

    async def _probe(self) -> None:
        """Find out soon that Harness cannot be reached, although no stream has broken."""
        answered = self._rhythm.clock.monotonic()
        while True:
            await self._rhythm.sleep(_PROBE_TICK)
            led = list(self._environments.values())
            heard = max((environment.heard_at for environment in led), default=answered)
            if not led:
                continue
            if self._rhythm.clock.monotonic() - max(heard, answered) < _SILENCE:
                self._telemetry.recovered(_PROBE)
                continue
            for environment in led:
                environment.contact.asked(Question.PROBE)
            if await self._is_answered(self._rhythm.random.choice(led)):
                answered = self._rhythm.clock.monotonic()
                for environment in led:
                    environment.contact.answered(Question.PROBE)

    async def _is_answered(self, environment: Environment) -> bool:
        try:
            await environment.probe(_PROBE_SECONDS)
        except UpstreamRefused:
            self._telemetry.recovered(_PROBE)  # so Harness is there
            return True
        except UpstreamError as error:
            self._telemetry.trouble(error, _PROBE)
            return False
        self._telemetry.recovered(_PROBE)
        return True

    async def _authenticate(self, key: SdkKey) -> Session:
        """A session for ``key``, however long it takes."""
        backoff = self._rhythm.backoff()
        while True:
            try:
                async with self._starting.place():
                    session = await self._api.authenticate(key)
            except UpstreamRefused as refused:
                self._pending.pop(key, None)
                self._refused[key] = f"refused by SaaS with {refused.status}"
                hint = advice(refused, "client-service") or _BAD_KEY
                self._telemetry.harness.failed(refused, _AUTHENTICATION, key=key.masked, advice=hint)
                await self._rhythm.rest(self._pace.refused)
            except UpstreamError as error:
                if key in self._pending:
                    self._pending[key] = str(error)
                self._telemetry.harness.failed(error, _AUTHENTICATION, key=key.masked)
                await self._rhythm.sleep(backoff.next(error))
            else:
                self._telemetry.harness.answered(_AUTHENTICATION, key=key.masked)
                return session

    async def _held(self, environment: EnvironmentId) -> EnvironmentConfig | None:
        backoff = self._rhythm.backoff()
        while True:
            try:
                return await self._configs.environment(environment)
            except StoreUnavailable as error:
                self._telemetry.trouble(error, "stored environments", environment)
                await self._rhythm.sleep(backoff.next(error))


async def _sleep(rhythm: Schedule, seconds: float) -> None:
    await rhythm.sleep(seconds)
