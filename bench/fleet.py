"""What a fleet costs its Redis: commands, bytes, CPU for each thing that happens; and how fast it recovers.

Everything is counted by Redis itself, less what the fleet asks of it when nothing happens.
"""

import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from string import ascii_uppercase
from types import MappingProxyType

from bench.common.environments import Made, write_offline
from bench.common.figures import Figure
from bench.common.http import ask, expect
from bench.common.plan import BenchError, Plan
from bench.common.processes import Server
from bench.common.redis_counts import Counted, CountingRedis, counting_redis
from bench.common.results import Column, Row, Table
from bench.common.site import Saas, proxy, sandbox
from bench.common.wrk import NUMBER, Load, Request, load
from bench.posts import usage_body

ENVIRONMENTS = 20
COUNTS = 200
FEW, MANY = 3, 64
_FLAGS = 100
_FLUSH = 0.6
"""Seconds between two usage posts: longer than they are collected, so that each is written by itself."""
_VARIATIONS = ("one", "two", "three")
_LONG = 30.0
_LOOK = 0.02
_TARGETS = "targets"
_TARGET_BYTES = 150

_COLUMNS = (
    Column("commands", 2),
    Column("bytes in"),
    Column("bytes out"),
    Column("CPU µs", 1, spread=True),
)
_ABOUT = (
    "What Redis counts for one of each: commands (those in scripts too), bytes received and sent, CPU time."
    " A second of members is what they ask when nothing happens; all else is without that. Requests come one"
    " at a time: under load, several share what is asked for them."
)
_LOADED = (Column("CPU µs", 1, spread=True), Column("commands of Redis", 2), Column("CPU µs of Redis", 1))
_ABOUT_LOADED = (
    "For each request, of 64 connections that ask one of two members as fast as it answers: CPU of the"
    " member, and what Redis does for it. 100 flags."
)
_ABOUT_HELD = "Bytes of Redis' memory for each; of a flag with its part of what else an environment has."
_ABOUT_RECOVERY = (
    "Seconds from the kill -9 of the member that follows Harness until a flip of the same moment is served by"
    " another one."
)


class _Fleet:
    """A Redis, a Harness, and members that join one by one."""

    def __init__(self, plan: Plan, stack: ExitStack, environments: int, options: Mapping[str, str]) -> None:
        self.plan = plan
        self._options = options
        self.members: list[Server] = []
        self.mades = [Made(f"fleet-{letter}", _FLAGS) for letter in ascii_uppercase[:environments]]
        self._stack = stack
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_offline(directory, self.mades)
        self.redis: CountingRedis = stack.enter_context(counting_redis())
        self.saas: Saas = stack.enter_context(sandbox(directory, self.mades))
        self.quiet = Counted(0, 0, 0, 0, 1)

    @property
    def made(self) -> Made:
        """The environment that is changed and read."""
        return self.mades[0]

    def join(self) -> Server:
        """One more member."""
        options = {**self.saas.options, "redis-address": self.redis.address, **self._options}
        member = self._stack.enter_context(proxy(options, f"member {len(self.members) + 1}"))
        self.members.append(member)
        _wait("a member does not serve", lambda: self._serves(member))
        return member

    def _serves(self, member: Server) -> bool:
        """Whether it has loaded every environment."""
        return all(ask(member.port, *_auth({"apiKey": made.key})).status == 200 for made in self.mades)

    def idle(self) -> Row:
        """Measure an idle second; it is subtracted from now on."""
        time.sleep(self.plan.pick(3.0, 0.2))  # what a member does once, when it has started, is over then
        windows, seconds = self.plan.pick((2, 5.0), (1, 0.3))
        given = [self.redis.during(lambda: time.sleep(seconds)) for _ in range(windows)]
        each = [one.each(one.seconds) for one in given]
        # What else the machine does only ever adds to it.
        self.quiet = min(each, key=lambda one: one.cpu)
        count = f"{len(self.members)} member{'s' if len(self.members) != 1 else ''}"
        more = f"{len(self.mades)} environment{'s' if len(self.mades) > 1 else ''}"
        return _row(f"a second of {count}, {more}", each)

    def each(self, label: str, step: Callable[[str], object], count: int, pause: float) -> Row:
        """The counts of one ``step``; each call gets a different text."""

        def several(number: int) -> None:
            for place in range(count):
                step(f"{number}-{place}")
                time.sleep(pause)  # so that no two are handled together
            time.sleep(self.plan.pick(1.0, 0.1))  # what they have set off is done by then

        given = [self.redis.during(lambda n=n: several(n)) for n in range(self.plan.pick(3, 1))]  # type: ignore[misc]
        return _row(label, [one.less(self.quiet, one.seconds).each(count) for one in given])

    def token(self, target: str | None = None) -> str:
        """A token from the newest member, for ``target`` if given."""
        answer = expect(200, self.members[-1].port, *_auth(self.asked(target)))
        token: str = json.loads(answer.body)["authToken"]
        return token

    def asked(self, target: str | None) -> dict[str, object]:
        """What an SDK posts for a token."""
        if target is None:
            return {"apiKey": self.made.key}
        attributes = {"plan": "team", "country": "DE"}
        described = {"identifier": target, "name": target, "attributes": attributes}
        return {"apiKey": self.made.key, "target": described}


def measure(plan: Plan) -> Iterator[Table]:
    """The tables; raises ``BenchError`` if the fleet fails."""
    with _fleet(plan, 1) as alone:
        rows = [alone.idle()]
        alone.join()
        rows += [alone.idle(), _posts(alone, 1, "handed on")]
    with _fleet(plan, plan.pick(ENVIRONMENTS, 2)) as many:
        held = many.redis.memory()
        many.join()
        rows += [many.idle()]
        flag = (many.redis.memory() - held) / sum(made.flags for made in many.mades)
        rows += [_changes(many)]
        many.join()
        rows += [many.idle(), _changes(many), *_reads(many)]
        rows += [many.each("authentication of a new target", many.token, plan.pick(100, 5), _LOOK)]
        target = _target_bytes(many)
        loaded = tuple(_loaded(many))
    with _fleet(plan, 1, {"metric-post-duration": "1"}) as sending:
        sending.join()
        sending.idle()
        rows += [_posts(sending, count, "handed on and sent") for count in (1, COUNTS)]
    yield Table("What is asked of Redis", _ABOUT, _COLUMNS, tuple(rows))
    yield Table("A member under load", _ABOUT_LOADED, _LOADED, loaded)
    items = tuple(Row(name, (Figure.of([size]),)) for name, size in (("flag", flag), ("target", target)))
    yield Table("What Redis holds", _ABOUT_HELD, (Column("bytes"),), items)
    taken = Row("leader killed", (Figure.of(_takeover(plan) for _ in range(plan.pick(3, 1))),))
    yield Table("Take-over", _ABOUT_RECOVERY, (Column("s", 2, spread=True),), (taken,))


@contextmanager
def _fleet(
    plan: Plan, environments: int, options: Mapping[str, str] = MappingProxyType({})
) -> Iterator[_Fleet]:
    with ExitStack() as stack:
        yield _Fleet(plan, stack, environments, options)


def _row(label: str, given: Sequence[Counted]) -> Row:
    figures = (
        Figure.of(one.commands for one in given),
        Figure.of(one.received for one in given),
        Figure.of(one.sent for one in given),
        Figure.of(one.cpu * 1e6 for one in given),
    )
    return Row(label, figures)


def _changes(fleet: _Fleet) -> Row:
    label = f"a change, {len(fleet.members)} member{'s' if len(fleet.members) > 1 else ''}"
    count = fleet.plan.pick(30, 3)

    def change(name: str) -> None:
        again, number = name.split("-")
        fleet.saas.flip(f"feature-{number}", fleet.made, _VARIATIONS[int(again)])

    return fleet.each(label, change, count, 0.05)


def _reads(fleet: _Fleet) -> Iterator[Row]:
    port, count = fleet.members[-1].port, fleet.plan.pick(200, 5)
    base, bearer = f"/client/env/{fleet.made.id}", {"Authorization": f"Bearer {fleet.token('user-1')}"}
    for label, resource in (
        ("a flag fetched", "feature-configs/feature-1"),
        ("evaluations of a known target", "target/user-1/evaluations"),
    ):
        path = f"{base}/{resource}"
        yield fleet.each(label, lambda _, path=path: expect(200, port, "GET", path, bearer), count, 0.005)  # type: ignore[misc]


def _target_bytes(fleet: _Fleet) -> float:
    """Bytes of Redis' memory for a target."""
    targets = [(f"user-{number}", "x" * _TARGET_BYTES) for number in range(fleet.plan.pick(20_000, 500))]
    before = fleet.redis.memory()
    fleet.redis.fill(_TARGETS, targets)
    return (fleet.redis.memory() - before) / len(targets)


def _posts(fleet: _Fleet, counts: int, done: str) -> Row:
    port, bearer = fleet.members[-1].port, {"Authorization": f"Bearer {fleet.token()}"}

    def post(name: str) -> None:
        body = usage_body(counts, f"user-{name}").encode()
        expect(200, port, "POST", f"/metrics/{fleet.made.id}", bearer, body)

    label = f"usage of {counts} count{'s' if counts > 1 else ''} {done}"
    return fleet.each(label, post, fleet.plan.pick(5, 1), _FLUSH)


def _loaded(fleet: _Fleet) -> Iterator[Row]:
    """The newest member, asked by many at once."""
    member, bearer = fleet.members[-1], {"Authorization": f"Bearer {fleet.token()}"}
    base, usage = f"/client/env/{fleet.made.id}", f"/metrics/{fleet.made.id}"
    asks = {
        "one flag": Request(f"{base}/feature-configs/feature-1", bearer),
        "all evaluations, new targets": Request(f"{base}/target/{NUMBER}/evaluations", bearer),
        "one evaluation, new targets": Request(f"{base}/target/{NUMBER}/evaluations/feature-1", bearer),
        "authentication, new targets": Request(
            "/client/auth", {}, "POST", json.dumps(fleet.asked(f"user-{NUMBER}"))
        ),
        f"usage of {FEW} counts": Request(usage, bearer, "POST", usage_body(FEW)),
        # Together fewer than may wait for Harness.
        f"usage of {MANY} counts, differing targets": Request(
            usage, bearer, "POST", usage_body(MANY, NUMBER), several=500
        ),
    }
    for label, request in asks.items():
        cpu, redis = [], []
        for _ in range(fleet.plan.pick(3, 1)):
            runs: list[Load] = []
            counted = fleet.redis.during(
                lambda asked=request, runs=runs: runs.append(  # type: ignore[misc]
                    load(member, asked, quick=fleet.plan.quick)
                )
            )
            cpu.append(1e6 / runs[0].per_cpu)
            redis.append(counted.less(fleet.quiet, counted.seconds).each(runs[0].rate))
        own = Figure.of(one.cpu * 1e6 for one in redis)
        yield Row(label, (Figure.of(cpu), Figure.of(one.commands for one in redis), own))


def _takeover(plan: Plan) -> float:
    with _fleet(plan, 1) as fleet:
        leader, other = fleet.join(), fleet.join()
        path = f"/client/env/{fleet.made.id}/feature-configs/feature-1"
        bearer = {"Authorization": f"Bearer {fleet.token()}"}
        before = expect(200, other.port, "GET", path, bearer).fields["etag"]
        killed = time.monotonic()
        os.kill(leader.pid, signal.SIGKILL)
        fleet.saas.flip("feature-1", fleet.made, "two")
        _wait("nobody takes over", lambda: ask(other.port, "GET", path, bearer).fields.get("etag") != before)
        return time.monotonic() - killed


def _auth(asked: dict[str, object]) -> tuple[str, str, None, bytes]:
    return "POST", "/client/auth", None, json.dumps(asked).encode()


def _wait(trouble: str, until: Callable[[], bool]) -> None:
    end = time.monotonic() + _LONG
    while not until():
        if time.monotonic() > end:
            raise BenchError(trouble)
        time.sleep(_LOOK)
