"""Every store does the same: random operations on all of them, compared with a plain model after each step.

A store that lives on (SQLite, Redis) is also closed and opened again in between, and Redis is emptied, after
which it must hold what spec/behaviour#read-your-writes promises.
"""

import shutil
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from ff_proxy.model.environment import Domain, EnvironmentConfig, StreamState, UpstreamStatus
from ff_proxy.model.keys import EnvironmentId, Secret, hash_key
from ff_proxy.model.redis import Topology
from ff_proxy.model.target import Target
from ff_proxy.model.usage import UsageCount, UsageKey, UsageTarget
from ff_proxy.store.memory import MemoryStore
from ff_proxy.store.protocol import (
    DropItem,
    Edit,
    PutItem,
    Registration,
    SetKeys,
)
from ff_proxy.store.redis import Endpoint, RedisStore
from ff_proxy.store.sqlite import SqliteStore
from ff_proxy.telemetry import null_telemetry
from tests.support.clock import FakeClock
from tests.support.configs import config, flag, segment
from tests.support.loops import Background
from tests.support.redis_server import RedisServer, redis_cluster, redis_command, redis_server
from tests.support.store_twin import ENVIRONMENTS, NAMES, Open, Twin, patiently
from tests.support.thorough import examples

environments = st.sampled_from(ENVIRONMENTS)
names = st.sampled_from(NAMES)
flags = st.builds(flag, names, on=st.booleans(), version=st.integers(1, 4))
segments = st.builds(segment, names, version=st.integers(1, 4), name=st.sampled_from(["one", "two"]))
items = flags | segments
key_sets = st.sets(st.sampled_from(["one", "two"])).map(lambda keys: tuple(sorted(keys)))
configs = st.builds(
    lambda found, environment, keys: config(*found, environment=environment, keys=keys),
    st.lists(items, max_size=5),
    environments,
    key_sets,
)
edits: st.SearchStrategy[Edit] = st.one_of(
    st.builds(PutItem, items),
    st.builds(DropItem, st.sampled_from(Domain), names),
    key_sets.map(lambda keys: SetKeys(frozenset(map(hash_key, keys)))),
)
statuses = st.builds(
    UpstreamStatus,
    st.sampled_from(StreamState),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from(["", "no"]),
)
targets = st.builds(
    Target,
    names,
    st.sampled_from(["A", "B"]),
    st.dictionaries(st.just("k"), st.sampled_from([1, None, [True]])),
)
counts = st.builds(
    lambda environment, name, number, at: UsageCount(
        UsageKey(environment, "FFMETRICS", (("featureIdentifier", name),)), number, at
    ),
    environments,
    names,
    st.sampled_from([1, 2, 2**53 - 1]),
    st.integers(1, 9),
)
seen = st.builds(UsageTarget, environments, names, st.sampled_from(["A", "B"]), st.just(()))
registrations = st.builds(Registration, environments, targets)


class Servers:
    """What Redis needs, shared by all examples: every one has a prefix of its own."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self.single = [stack.enter_context(redis_server(directory / "single"))]
        self.cluster = stack.enter_context(redis_cluster(directory / "cluster"))
        self.numbers = count()


class Stores(RuleBasedStateMachine):
    """The same to all."""

    background: Background
    servers: Servers

    def __init__(self) -> None:
        super().__init__()
        servers = self.servers
        self.clock = FakeClock()
        self.directory, prefix = servers.directory / str(next(servers.numbers)), uuid4().hex
        clock, quiet = self.clock, null_telemetry()

        def redis(topology: Topology, nodes: Sequence[RedisServer]) -> Open:
            where = Endpoint(topology, tuple(("127.0.0.1", node.port) for node in nodes))
            return lambda epoch: RedisStore(
                where,
                prefix,
                epoch,
                clock,
                quiet,
            )

        self.twins = [
            Twin(
                "memory",
                lambda epoch: MemoryStore(epoch, clock),
                shared=True,
                durable=False,
            ),
            Twin(
                "sqlite",
                lambda epoch: SqliteStore(
                    self.directory,
                    epoch,
                    clock,
                    quiet,
                ),
                shared=True,
                durable=True,
            ),
            Twin(
                "redis",
                redis(Topology.SINGLE, servers.single),
                shared=False,
                durable=True,
                emptied=servers.single,
                members=2,
            ),
            Twin(
                "cluster",
                redis(Topology.CLUSTER, servers.cluster),
                shared=False,
                durable=True,
                emptied=servers.cluster,
            ),
        ]
        self._all(lambda twin: twin.open())

    def teardown(self) -> None:
        """Close every store."""
        self._all(lambda twin: twin.close())

    @rule(given=configs)
    def replace(self, given: EnvironmentConfig) -> None:
        """Make an environment equal to something."""

        async def act(twin: Twin) -> None:
            before = (await twin.store.configs.environments()).get(given.id)
            changed = twin.configs.replace(given, self.clock.wall())
            revision = await twin.store.configs.replace(given)
            assert (revision != before) == changed
            if changed:
                await twin.hears(given.id, revision)

        self._all(act)

    @rule(environment=environments, edit=edits)
    def apply(self, environment: EnvironmentId, edit: Edit) -> None:
        """Change one thing."""

        async def act(twin: Twin) -> None:
            before = (await twin.store.configs.environments()).get(environment)
            changed = twin.configs.apply(environment, edit, self.clock.wall())
            revision = await twin.store.configs.apply(environment, edit)
            assert (revision is None) == (changed is None)
            assert (revision != before) == bool(changed)
            if changed:
                await twin.hears(environment, revision)

        self._all(act)

    @rule(environment=environments)
    def remove(self, environment: EnvironmentId) -> None:
        """Forget an environment."""

        async def act(twin: Twin) -> None:
            held = twin.configs.held.pop(environment, None)
            twin.statuses.pop(environment, None)
            twin.reported.discard(environment)
            await twin.store.configs.remove(environment)
            if held is not None:
                await twin.hears(environment, None)

        self._all(act)

    @rule(environment=environments, status=statuses)
    def set_status(self, environment: EnvironmentId, status: UpstreamStatus) -> None:
        """Say how an upstream is doing."""

        async def act(twin: Twin) -> None:
            twin.statuses[environment] = status
            twin.reported.add(environment)
            await twin.store.configs.set_status(environment, status)

        self._all(act)

    @rule(environment=environments, told=targets, keep=st.booleans())
    def put_target(self, environment: EnvironmentId, told: Target, *, keep: bool) -> None:
        """Store a target, with or without attributes of its own."""

        async def act(twin: Twin) -> None:
            name = (environment, told.identifier)
            held = twin.targets.get(name, told)
            kept = msgspec.structs.replace(told, attributes=held.attributes)
            twin.targets[name] = kept if keep else told
            put = twin.store.targets.put
            await patiently(partial(put, environment, told, keep_attributes=keep))

        self._all(act)

    @rule(environment=environments, many=st.lists(targets, max_size=4))
    def put_targets(self, environment: EnvironmentId, many: list[Target]) -> None:
        """Store what was polled."""

        async def act(twin: Twin) -> None:
            twin.targets.update({(environment, target.identifier): target for target in many})
            await twin.store.targets.put_many(environment, many)

        self._all(act)

    @rule(more=st.lists(counts, max_size=4), described=st.lists(seen, max_size=2))
    def count_usage(self, more: list[UsageCount], described: list[UsageTarget]) -> None:
        """Merge counts and targets in."""

        async def act(twin: Twin) -> None:
            for environment in ENVIRONMENTS:
                counts = [count for count in more if count.key.environment == environment]
                seen = [target for target in described if target.environment == environment]
                dropped = twin.usage.merge(counts, seen)
                assert await twin.store.usage.merge(counts, seen) == dropped

        self._all(act)

    @rule(environment=environments, limit=st.integers(1, 4))
    def take_usage(self, environment: EnvironmentId, limit: int) -> None:
        """Lease a batch."""

        async def act(twin: Twin) -> None:
            lease = await twin.store.usage.take(environment, limit)
            twin.usage.take(environment, limit, lease)
            if lease is not None:
                twin.leases.append(lease)

        self._all(act)

    @rule(which=st.integers(0, 3), arrived=st.none() | st.integers(0, 3))
    def settle_usage(self, which: int, arrived: int | None) -> None:
        """Settle a lease of which all arrived, or so many of each kind; also one that is settled already."""

        async def act(twin: Twin) -> None:
            for lease in twin.leases[which : which + 1]:
                if arrived is None:
                    twin.usage.settle(lease, (), ())
                    await twin.store.usage.settle(lease)
                else:
                    twin.usage.settle(lease, lease.counts[arrived:], lease.targets[arrived:])
                    await twin.store.usage.settle(lease, lease.counts[arrived:], lease.targets[arrived:])

        self._all(act)

    @rule()
    def the_taker_of_usage_died(self) -> None:
        """Only a store that others use as well has to notice."""

        async def act(twin: Twin) -> None:
            if isinstance(twin.store, RedisStore):
                twin.usage.taker_died()
                usage = twin.store.usage
                for lease in twin.usage.leases.values():
                    leases = usage._keys.usage_leases(lease.environment)
                    await usage._connection.do("ZADD", leases, 1, lease.id)

        self._all(act)

    @rule(registration=registrations)
    def register(self, registration: Registration) -> None:
        """Queue a target for SaaS."""

        async def act(twin: Twin) -> None:
            added = twin.registrations.add(registration)
            assert await twin.store.registrations.add(registration) == added

        self._all(act)

    @rule(environment=st.sampled_from(ENVIRONMENTS), limit=st.integers(1, 4))
    def take_registrations(self, environment: EnvironmentId, limit: int) -> None:
        """Take some, if there are any."""

        async def act(twin: Twin) -> None:
            assert twin.registrations.environments() <= set(await twin.store.registrations.waiting())
            batch = await twin.store.registrations.take(environment, limit)
            twin.registrations.take(environment, batch, limit)
            twin.taken.extend(batch)

        self._all(act)

    @rule(which=st.integers(0, 3), delivered=st.booleans())
    def settle_registration(self, which: int, *, delivered: bool) -> None:
        """Settle one that is being sent."""

        async def act(twin: Twin) -> None:
            for registration in twin.taken[which : which + 1]:
                twin.taken.remove(registration)
                twin.registrations.complete(registration, delivered=delivered)
                await twin.store.registrations.complete(registration, delivered=delivered)

        self._all(act)

    @rule(which=st.integers(0, 3))
    def discard_registration(self, which: int) -> None:
        """Give one up that is being sent."""

        async def act(twin: Twin) -> None:
            for registration in twin.taken[which : which + 1]:
                twin.taken.remove(registration)
                twin.registrations.discard(registration)
                await twin.store.registrations.discard(registration)

        self._all(act)

    @rule(candidate=st.sampled_from(["one", "two"]))
    def ask_for_the_secret(self, candidate: str) -> None:
        """The first candidate is everybody's."""

        async def act(twin: Twin) -> None:
            twin.secret = twin.secret or Secret(candidate)
            for store in twin.open_stores:
                assert await store.secrets.auth_secret(Secret(candidate)) == twin.secret

        self._all(act)

    @rule(killed=st.booleans())
    def restart(self, *, killed: bool) -> None:
        """Close and open what lives on; killed, the file is as it was before it could be closed."""
        left = self.directory.with_name(f"{self.directory.name}-killed")

        async def act(twin: Twin) -> None:
            if not twin.durable:
                return
            if killed and not twin.emptied:
                shutil.copytree(self.directory, left)
            await twin.close()
            if killed and not twin.emptied:
                self.directory = left
            twin.reported.clear()
            if not twin.emptied:
                twin.statuses.clear()
                twin.usage.restart()
                twin.leases.clear()
                twin.registrations.restart()
                twin.taken.clear()
            await twin.open()

        self._all(act)

    @rule()
    def empty_redis(self) -> None:
        """What members know comes back: environments, statuses, targets, the secret; the queues do not."""

        async def act(twin: Twin) -> None:
            if not twin.emptied:
                return
            await twin.check(self.clock.wall())
            for server in twin.emptied:
                redis_command(server.port, "FLUSHALL")
            twin.usage.forget()
            twin.registrations.forget()
            for environment in twin.statuses.keys() - twin.reported:
                del twin.statuses[environment]
            for held in twin.configs.held.values():
                held.recent.clear()
            await twin.poll()
            assert set(await twin.store.configs.environments()) == set(twin.configs.held)

        self._all(act)

    @rule(seconds=st.integers(1, 200))
    def time_passes(self, seconds: int) -> None:
        """A while."""
        self.background.call(self.clock.advance(seconds))

    @invariant()
    def all_equal_their_models(self) -> None:
        """After every step."""
        since = self.clock.wall() - 120
        self._all(lambda twin: twin.check(since))

    def _all(self, act: Callable[[Twin], Coroutine[Any, Any, None]]) -> None:
        for twin in self.twins:
            try:
                self.background.call(act(twin))
            except BaseException:
                note(f"in the store: {twin.name}")
                raise


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A Redis and a Cluster of their own, since they are emptied."""
    with ExitStack() as stack:
        yield Servers(tmp_path_factory.mktemp("stores"), stack)


@pytest.mark.timeout(300)
def test_every_store_equals_the_model(servers: Servers) -> None:
    """Whatever happens to them, in whatever order."""
    with Background() as background:

        class Served(Stores):
            pass

        Served.background, Served.servers = background, servers
        run_state_machine_as_test(
            Served,
            settings=settings(
                max_examples=examples(0.1),
                stateful_step_count=30,
                # Steps are slow, so that a failure would be shortened for minutes.
                phases=(Phase.explicit, Phase.reuse, Phase.generate),
                suppress_health_check=list(HealthCheck),
            ),
        )
        assert background.errors == []
