"""Rounds of faults drawn from a seed, and after each of them what must be true again, and how soon."""

import asyncio
import functools
import operator
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import httpx2
import msgspec

from ff_proxy.model.keys import EnvironmentId
from tests.chaos.catalogue import of
from tests.chaos.fault import Fault, Touches
from tests.chaos.matrix import Cell, State
from tests.chaos.truth import ENVIRONMENTS
from tests.chaos.users import Complaints, Listener, Post, User
from tests.chaos.world import Form, Member, Usage, World, readiness, world
from tests.support.sdk_like import KEYS

CONVERGED_WITHIN: Final = 40.0
"""Seconds from the end of the last fault within which every stream and every member knows the truth.

Who has failed often to reach Harness pauses for half a minute before the next attempt.
"""

# What a process has taken and not handed over yet, and what is on its way to Harness.
_TAKEN: Final = 1.5
_ON_ITS_WAY: Final = 3.0
_GROWTH: Final = Usage(memory=40 * 1024 * 1024, files=24)
# What a burst of commands has opened is closed half a minute later: of each member 32 connections to Redis
# and as many to its Sentinels, or for each node of a Cluster a hundred in all.
_GROWTH_WITH_REDIS: Final = {Form.REDIS: 100, Form.SENTINEL: 200, Form.CLUSTER: 300}
_MOST_AT_ONCE: Final = 3
# In less, trouble need not have been noticed, and a change need not have arrived by another way.
_LONG_ENOUGH: Final = 8.0


class Moment(msgspec.Struct, frozen=True):
    """A fault that was: what, and from when until when (seconds since the start)."""

    fault: str
    touches: Touches
    began: float
    ended: float


class Report(msgspec.Struct, frozen=True):
    """What a run has been through.

    Attributes:
        recovery: of each round, seconds from its last fault until everything was in order.
        posts: of usage, answered; ``waiting``, ``lost`` and ``twice`` of them, each within a stated window.
    """

    form: str
    seed: int
    seconds: float
    rounds: int
    faults: dict[str, int]
    answers: int
    events: int
    changes: int
    recovery: list[float]
    posts: int
    waiting: int
    lost: int
    twice: int


class Endured(msgspec.Struct, frozen=True):
    """A cell of the matrix that was gone through: seconds until all was in order, and what was so last."""

    link: str
    kind: str
    seconds: float
    last: str


class ViolationError(AssertionError):
    """A promise that was broken; the text says which, and how to do it again."""


class Driver:
    """One run.

    Args:
        made: what it is done to.
        seed: of everything that is drawn.
        faults: those that may happen.
    """

    def __init__(self, made: World, seed: int, faults: Sequence[Fault]) -> None:
        self._world = made
        self._chance = random.Random(seed)
        self._seed = seed
        self._faults = faults
        self._complaints = Complaints()
        self._users = [User(made, *place, self._complaints) for place in self._places()]
        self._listeners = [Listener(made, *place, self._complaints) for place in self._places()]
        self._moments: list[Moment] = []
        self._recovery: list[float] = []
        self._changes = 0
        self._last = ""
        self._rounds: list[Moment] = []

    def _places(self) -> list[tuple[Member, str]]:
        return [(member, name) for member in self._world.members for name in ENVIRONMENTS]

    async def run(self, seconds: float) -> Report:
        """Rounds for so long, at least one; ``ViolationError`` if anything was not as it must be."""
        began = time.monotonic()
        async with self._used():
            await self._recover("the start", Touches.NOTHING, time.monotonic())
            self._recovery.clear()
            fresh = self._world.resources()
            while time.monotonic() - began < seconds or not self._recovery:
                await self._round()
        await self._until("the end", self._usage_arrived)
        waiting, lost, twice = await self._judge_usage()
        await self._judge_rest(fresh)
        return Report(
            form=self._world.form,
            seed=self._seed,
            seconds=round(time.monotonic() - began, 1),
            rounds=len(self._recovery),
            faults=dict(Counter(moment.fault for moment in self._moments)),
            answers=sum(user.answers for user in self._users),
            events=sum(listener.events for listener in self._listeners),
            changes=self._changes,
            recovery=[round(took, 1) for took in self._recovery],
            posts=sum(post.answered for user in self._users for post in user.posts),
            waiting=waiting,
            lost=lost,
            twice=twice,
        )

    @asynccontextmanager
    async def _used(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(user.run()) for user in self._users]
        tasks += [asyncio.create_task(listener.run()) for listener in self._listeners]
        tasks.append(asyncio.create_task(self._keep_changing()))
        try:
            yield
        finally:
            for task in (*tasks, *self._world.rising):
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        broken = [error for error in ended if isinstance(error, Exception)]
        if broken:
            raise broken[0]

    async def _keep_changing(self) -> None:
        while True:
            self._world.truth.change(self._chance)
            self._changes += 1
            await asyncio.sleep(0.2)

    async def endure(self, cells: Sequence[Cell], seconds: float, tell: Callable[[Endured], None]) -> None:
        """Each trouble of the matrix in turn, for so long; ``tell`` is given what became of each.

        ``ViolationError`` if a promise was broken.
        """
        async with self._used():
            await self._recover("the start", Touches.NOTHING, time.monotonic())
            self._recovery.clear()
            fresh = self._world.resources()
            for cell in cells:
                await self._endure_one(cell, seconds)
                tell(Endured(cell.link, cell.kind, round(self._recovery[-1], 1), self._last or "nothing"))
        await self._until("the end", self._usage_arrived)
        await self._judge_usage()
        await self._judge_rest(fresh)

    async def _endure_one(self, cell: Cell, seconds: float) -> None:
        self._world.truth.quiet = cell.quiet
        began = time.monotonic()
        trouble = asyncio.create_task(self._befall(cell.fault, 0.0, seconds))
        states = set()
        known = not cell.changes
        before = self._world.truth.numbers()
        while not trouble.done():
            for member in self._world.members:
                with suppress(httpx2.TransportError):
                    states.add((await readiness(member.url))[1])
            known = known or self._behind(before) == ""
            await asyncio.wait([trouble], timeout=0.1)
        await trouble
        self._judge_complaints(cell.name)
        if not known and seconds >= _LONG_ENOUGH:
            raise self._violation(
                cell.name, f"changes did not arrive while it lasted: {self._behind(before)}"
            )
        if seconds >= _LONG_ENOUGH and cell.state is State.DEGRADED and "degraded" not in states:
            raise self._violation(cell.name, f"readiness said nothing but {states}")
        if cell.state is State.READY and states != {"ready"}:
            raise self._violation(cell.name, f"readiness said {states}")
        await self._recover(cell.name, cell.touches, began)

    async def _round(self) -> None:
        """Some faults beside each other; then none, until everything is in order."""
        began = time.monotonic()
        chosen: dict[str, Fault] = {}
        for fault in self._chance.choices(self._faults, k=self._chance.randint(1, _MOST_AT_ONCE)):
            chosen.setdefault(fault.befalls, fault)
        async with asyncio.TaskGroup() as group:
            for fault in chosen.values():
                start, length = self._chance.uniform(0, 1.5), self._chance.choice((0.1, 0.5, 1.5, 3.0, 6.0))
                group.create_task(self._befall(fault, start, length))
        names = " + ".join(fault.name for fault in chosen.values())
        touches = functools.reduce(operator.or_, map(self._cost, chosen.values()))
        await self._recover(names, touches, began)

    async def _recover(self, names: str, touches: Touches, began: float) -> None:
        over = time.monotonic()
        # No later change may make up for one that was missed.
        self._world.truth.quiet = True
        await self._until(names, self._in_order)
        self._world.truth.quiet = False
        now = time.monotonic()
        self._recovery.append(now - over)
        self._rounds.append(Moment(names, touches, began, now))
        for member in self._world.members:
            member.forgiven = False

    async def _befall(self, fault: Fault, start: float, length: float) -> None:
        await asyncio.sleep(start)
        began = time.monotonic()
        if Touches.STORE in fault.touches:
            for member in self._world.members:
                member.forgiven = True
        async with fault.begin(self._world, random.Random(self._chance.random())):
            await asyncio.sleep(length)
        self._moments.append(Moment(fault.name, self._cost(fault), began, time.monotonic()))

    def _cost(self, fault: Fault) -> Touches:
        if self._world.form is Form.SENTINEL and fault.befalls == "Redis":
            # Another server may take over, which need not have had everything yet.
            return fault.touches | Touches.EMPTIES
        return fault.touches

    async def _until(self, after: str, condition: Callable[[], Awaitable[str]]) -> None:
        """Wait until there is nothing to say against it."""
        end = time.monotonic() + CONVERGED_WITHIN
        self._last = missing = ""
        while time.monotonic() < end:
            self._judge_complaints(after)
            missing = await condition()
            if not missing:
                return
            self._last = missing
            await asyncio.sleep(0.1)
        raise self._violation(after, f"{CONVERGED_WITHIN:.0f} s later still: {missing}")

    async def _in_order(self) -> str:
        """What is not as it has to be when nothing has been wrong for a while; empty if all is well."""
        for task in self._world.rising:
            if task.done():
                task.result()
        self._world.rising = [task for task in self._world.rising if not task.done()]
        for member in self._world.members:
            if not member.life:
                return f"{member.name} is not ready"
            try:
                status, state, reasons = await readiness(member.url)
            except httpx2.TransportError as error:
                return f"{member.name} does not answer: {type(error).__name__}"
            if (status, state) != (200, "ready"):
                return f"{member.name} says {status} {state}: {reasons}"
        for environment in KEYS if self._world.form is not Form.OFFLINE else ():
            streams = self._world.saas.streams.count(EnvironmentId(environment))
            if streams != 1:
                return f"{streams} streams to Harness for {environment}"
        return self._known()

    def _known(self) -> str:
        """Who does not know exactly what is true now."""
        truth = self._world.truth
        for one in self._listeners:
            if one.comet != bool(truth.comets(one.environment) % 2):
                return f"the stream at {one.member.name} knows a deleted flag, or not a new one: {one.comet}"
        return self._behind(truth.numbers())

    def _behind(self, numbers: Mapping[str, int]) -> str:
        """Who does not know these values of the flags that count; empty if everybody does."""
        for one in self._listeners:
            if one.known < numbers[one.environment]:
                return f"the stream at {one.member.name} told of {one.known}, not {numbers[one.environment]}"
        for user in self._users:
            if user.newest < numbers[user.environment]:
                return f"{user.member.name} gave {user.newest}, true was {numbers[user.environment]}"
        return ""

    async def _usage_arrived(self) -> str:
        counts = self._counts()
        owed = [post.name for post in self._posts() if self._least(post) and not counts[post.name]]
        if owed:
            waiting = await asyncio.to_thread(self._world.waiting_usage)
            owed = [name for name in owed if name not in waiting]
        return f"{len(owed)} posts have not arrived, such as {owed[:3]}" if owed else ""

    def _posts(self) -> list[Post]:
        return [post for user in self._users for post in user.posts]

    def _counts(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        for entry in self._world.saas.usage.sums():
            counts[entry.flag] += entry.count
        return counts

    def _touched(self, post: Post) -> Touches:
        """What may have become of it."""
        touches = Touches.NOTHING
        for moment in self._rounds:
            if moment.began - _ON_ITS_WAY <= post.at <= moment.ended:
                touches |= moment.touches
        return touches

    def _least(self, post: Post) -> int:
        """How often it has to be counted at least."""
        touches = self._touched(post)
        if self._world.form is Form.OFFLINE or not post.answered or Touches.EMPTIES in touches:
            return 0
        if Touches.LIVES in touches and (self._world.form is Form.MEMORY or Touches.STORE in touches):
            return 0
        killed = (moment.began for moment in self._moments if Touches.PROCESSES in moment.touches)
        return 0 if any(post.at <= at <= post.at + _TAKEN for at in killed) else 1

    async def _judge_usage(self) -> tuple[int, int, int]:
        """Posts that wait still, were lost, or counted twice; ``ViolationError`` beyond what is stated."""
        counts = self._counts()
        kept = await asyncio.to_thread(self._world.waiting_usage)
        waiting = lost = twice = 0
        offline = self._world.form is Form.OFFLINE
        for post in self._posts():
            count = counts[post.name]
            if count > (2 if Touches.ANSWERS in self._touched(post) else 1):
                raise self._violation("the end", f"{post} was counted {count} times")
            twice += count == 2
            waiting += post.answered and not count and post.name in kept
            lost += post.answered and not count and post.name not in kept and not offline
        return waiting, lost, twice

    async def _judge_rest(self, fresh: Usage) -> None:
        if trouble := await self._world.trouble():
            raise self._violation("the end", trouble)
        now = self._world.resources()
        files = _GROWTH_WITH_REDIS.get(self._world.form, _GROWTH.files)
        if now.exceeds(fresh, msgspec.structs.replace(_GROWTH, files=files)):
            raise self._violation("the end", f"{fresh} has become {now}")

    def _judge_complaints(self, after: str) -> None:
        if self._complaints.made:
            raise self._violation(after, "; ".join(self._complaints.made[:10]))

    def _violation(self, after: str, what: str) -> ViolationError:
        start = self._complaints.started
        told = "\n".join(
            f"  {moment.began - start:6.2f}-{moment.ended - start:6.2f} s {moment.fault}"
            for moment in self._moments[-12:]
        )
        return ViolationError(
            f"seed {self._seed}, {self._world.form}, after {after}: {what}\n{told}\nlogs: {self._world.place}"
        )


async def run(form: Form, seed: int, seconds: float, place: Path, only: str = "") -> Report:
    """One run of a form.

    Args:
        form: how the proxy is run.
        seed: of everything that is drawn.
        seconds: how long faults go on; the last round is finished.
        place: where logs and data go.
        only: faults whose names have this in them; by default all.
    """
    faults = [fault for fault in of(form) if only in fault.name]
    async with world(form, place, seed) as made:
        return await Driver(made, seed, faults).run(seconds)


async def endure(
    form: Form, cells: Sequence[Cell], seconds: float, place: Path, tell: Callable[[Endured], None]
) -> None:
    """Go through cells of the matrix; see ``Driver.endure``."""
    async with world(form, place, seed=0) as made:
        await Driver(made, 0, ()).endure(cells, seconds, tell)
