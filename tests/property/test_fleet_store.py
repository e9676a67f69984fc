"""A fleet over a Redis that is emptied, set back, and used by members that sleep through all of it.

Whatever happens in whatever order: no member ever serves an item in an older version than it has served, and
once everybody has looked nobody serves an older one than anybody has (spec/behaviour#read-your-writes).
"""

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Final
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.environment import Domain, EnvironmentConfig, Item
from ff_proxy.store.protocol import DropItem, Edit, PutItem
from ff_proxy.store.redis import RedisStore
from ff_proxy.store.redis.keys import Keys
from tests.support.configs import ENVIRONMENT, config, flag
from tests.support.loops import Background
from tests.support.redis_member import member
from tests.support.redis_server import RedisServer, redis_command, redis_server
from tests.support.thorough import examples

NAMES: Final = ("a", "b", "c")
# The last one never leads: a replica.
MEMBERS: Final = ("one", "two", "replica")


def dumped(port: int, key: str) -> bytes | None:
    """``DUMP``, whose answer is no text."""
    answer = _ask(port, "DUMP", key)
    return None if answer == b"$-1\r\n" else answer.partition(b"\r\n")[2][:-2]


def _ask(port: int, *words: str | bytes) -> bytes:
    parts = [word.encode() if isinstance(word, str) else word for word in words]
    request = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
    with socket.create_connection(("127.0.0.1", port), 2.0) as connection:
        connection.sendall(request)
        answer = connection.recv(1 << 20)
    assert not answer.startswith(b"-"), answer
    return answer


class Fleet(RuleBasedStateMachine):
    """Three members, one environment, and Harness as a dictionary."""

    background: Background
    server: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self.prefix = uuid4().hex
        keys = Keys(self.prefix)
        self.parts = [keys.environments, *(getattr(keys, name)(ENVIRONMENT) for name in PARTS)]
        self.lease = keys.lease(ENVIRONMENT)
        self.members = {name: member(self.server, self.prefix, name) for name in MEMBERS}
        self.asleep: dict[str, list[Edit]] = {}
        self.truth: dict[str, Item] = {}
        self.versions = dict.fromkeys(NAMES, 0)
        self.dumps: list[dict[str, bytes]] = []
        self.served: dict[str, dict[str, int]] = {name: {} for name in MEMBERS}
        self.told: dict[str, int] = {}

    @initialize()
    def begin(self) -> None:
        """One leads, and Redis is saved."""
        for name in NAMES:
            self.versions[name] = 1
            self.truth[name] = flag(name)
        self._settle()
        self.redis_is_saved()

    def teardown(self) -> None:
        """Close every member."""
        for store in self.members.values():
            self.background.call(store.__aexit__(None, None, None))

    @rule(name=st.sampled_from(NAMES), on=st.booleans(), gone=st.sampled_from([False, False, False, True]))
    def harness_changes(self, name: str, *, on: bool, gone: bool) -> None:
        """Whoever leads writes what it hears; who sleeps, hears it when it wakes up."""
        self.versions[name] += 1
        edit: Edit
        if gone:
            self.truth.pop(name, None)
            edit = DropItem(Domain.FLAG, name)
        else:
            self.truth[name] = flag(name, on=on, version=self.versions[name])
            edit = PutItem(self.truth[name])
        for who, store in self.members.items():
            if who in self.asleep:
                self.asleep[who].append(edit)
            elif store.leases.leads(ENVIRONMENT):
                self._apply(store, edit)
        self._settle()

    @rule(who=st.sampled_from(MEMBERS))
    def a_member_falls_asleep(self, who: str) -> None:
        """With whatever it was about to write."""
        if who not in self.asleep and len(self.asleep) < len(MEMBERS) - 1:
            known = self.truth.values()
            self.asleep[who] = [PutItem(item) for item in known]

    @rule(data=st.data())
    def it_wakes_up(self, data: st.DataObject) -> None:
        """And writes that first of all, before it has looked at anything."""
        if self.asleep:
            who = data.draw(st.sampled_from(sorted(self.asleep)))
            late = self.asleep.pop(who)
            if self.members[who].leases.leads(ENVIRONMENT):
                for edit in late[:2]:
                    self._apply(self.members[who], edit)
            self._settle()

    @rule()
    def the_lease_runs_out(self) -> None:
        """Nobody has renewed it."""
        redis_command(self.server.port, "DEL", self.lease)
        self._settle()

    @rule(who=st.sampled_from(MEMBERS[:2]))
    def the_lease_changes_hands(self, who: str) -> None:
        """In order."""
        for name, store in self.members.items():
            if name not in self.asleep and store.leases.leads(ENVIRONMENT):
                self.background.call(store.leases.release(ENVIRONMENT))
        if who not in self.asleep:
            self._lead(who)
        self._settle()

    @rule()
    def redis_is_saved(self) -> None:
        """For later."""
        port = self.server.port
        self.dumps.append({key: dump for key in self.parts if (dump := dumped(port, key)) is not None})

    @rule(which=st.integers(0, 3), leased=st.booleans())
    def an_older_state_comes_back(self, which: int, *, leased: bool) -> None:
        """Of any age, with the lease of that time or none."""
        for dump in self.dumps[-1 - which :][:1]:
            redis_command(self.server.port, "DEL", *self.parts)
            for key, stored in dump.items():
                if key != self.lease or leased:
                    _ask(self.server.port, "RESTORE", key, "0", stored)
            self._settle()

    @rule()
    def redis_is_emptied(self) -> None:
        """By somebody."""
        redis_command(self.server.port, "DEL", *self.parts)
        self._settle()

    @rule(who=st.sampled_from(MEMBERS))
    def a_member_starts_anew(self, who: str) -> None:
        """And knows nothing."""
        if who not in self.asleep and not self.asleep:
            self.background.call(self.members[who].__aexit__(None, None, None))
            self.members[who] = member(self.server, self.prefix, who)
            self.served[who].clear()
            self._settle()

    def _settle(self) -> None:
        """Everybody who is awake looks twice, one of them leads, and asks Harness if in doubt."""
        for _ in range(2):
            for who in self._awake():
                self._look(who)
            self._renew()
            for who in self._awake():
                self._look(who)
        for who in self._awake():
            found = self._look(who)
            for name, version in found.items():
                assert version >= self.told.get(name, 0), (
                    f"{who} serves {name} {version}, {self.told} was told"
                )
                self.told[name] = version
            if self._leader() is not None:
                held = self.background.call(self.members[who].configs.environment(ENVIRONMENT))
                assert held is not None
                assert {name: item.digest for name, item in held.flags.items()} == {
                    name: item.digest for name, item in self.truth.items()
                }, who

    def _renew(self) -> None:
        """What the election does, and what a leader does when it begins or doubts."""
        for who in self._awake():
            store = self.members[who]
            if not store.leases.leads(ENVIRONMENT):
                continue
            before = store.leases.fence(ENVIRONMENT)
            if self.background.call(store.leases.acquire(ENVIRONMENT)) and (
                store.leases.fence(ENVIRONMENT) != before or store.lost_writes._noted.is_set()
            ):
                self._refetch(who)
        if self._leader() is None:
            for who in self._awake():
                if who != MEMBERS[-1] and self._lead(who):
                    break

    def _lead(self, who: str) -> bool:
        if not self.background.call(self.members[who].leases.acquire(ENVIRONMENT)):
            return False
        self._refetch(who)
        return True

    def _refetch(self, who: str) -> None:
        store = self.members[who]
        store.lost_writes._noted.clear()
        self.background.call(store.configs.replace(config(*self.truth.values())))

    def _leader(self) -> str | None:
        return next(
            (who for who in self._awake() if self.members[who].leases.leads(ENVIRONMENT)),
            None,
        )

    def _awake(self) -> list[str]:
        return [who for who in MEMBERS if who not in self.asleep]

    def _apply(self, store: RedisStore, edit: Edit) -> None:
        with suppress(StoreUnavailable):  # another member leads by now
            self.background.call(store.configs.apply(ENVIRONMENT, edit))

    def _look(self, who: str) -> dict[str, int]:
        """What a member serves now; never older than what it has served."""
        store = self.members[who]
        self.background.call(store.configs.environments())
        found: EnvironmentConfig | None = self.background.call(store.configs.environment(ENVIRONMENT))
        versions = {} if found is None else {name: item.version for name, item in found.flags.items()}
        for name, version in versions.items():
            assert version >= self.served[who].get(name, 0), f"{who} went back with {name}"
            self.served[who][name] = version
        return versions


PARTS: Final = ("config", "items", "moved", "recent", "lease")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One of its own."""
    with redis_server(tmp_path_factory.mktemp("redis")) as own:
        yield own


@pytest.mark.timeout(120)
def test_no_client_goes_back(server: RedisServer) -> None:
    """Whatever happens to Redis and to its members, in whatever order."""
    with Background() as background:

        class Served(Fleet):
            pass

        Served.background, Served.server = background, server
        run_state_machine_as_test(
            Served,
            settings=settings(
                max_examples=examples(0.12),
                stateful_step_count=25,
                deadline=None,
                phases=(Phase.explicit, Phase.reuse, Phase.generate),
                suppress_health_check=list(HealthCheck),
            ),
        )
        assert background.errors == []
