"""Usage reaches SaaS once, whole, and each environment on its own."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import StringIO
from itertools import pairwise
from random import Random

from ff_proxy.errors import UpstreamError, UpstreamRefused, UpstreamUnavailable
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import UsageCount, UsageKey, UsageTarget, weight
from ff_proxy.store.memory.queues import MemoryUsageQueue
from ff_proxy.telemetry import Telemetry, null_telemetry
from ff_proxy.telemetry.logs import make_logger
from ff_proxy.usage.forwarder import UsageForwarder
from tests.support.clock import FakeClock

ENV = EnvironmentId("5b3ae4f2-46a4-4e0a-a2f6-24d8ff2f3a11")
OTHER = EnvironmentId("b1dc1c9f-5a3f-41d7-8a4e-0c8e2f9e3b22")
Answer = Callable[[EnvironmentId, bytes], UpstreamError | None]


class Saas:
    """Takes bodies, or answers with an error; remembers the counts it took, by flag."""

    def __init__(self, answer: Answer = lambda _, __: None) -> None:
        self.answer = answer
        self.taken: dict[tuple[EnvironmentId, str], int] = {}
        self.targets: list[str] = []
        self.bodies: list[bytes] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, environment: EnvironmentId, body: bytes) -> None:
        await self.gate.wait()
        error = self.answer(environment, body)
        if error is not None:
            raise error
        self.bodies.append(body)
        doc = json.loads(body)
        for entry in doc["metricsData"]:
            flag = entry["attributes"][0]["value"]
            self.taken[environment, flag] = self.taken.get((environment, flag), 0) + entry["count"]
        self.targets += [target["identifier"] for target in doc["targetData"]]


class Setting:
    """A forwarder between a queue and a SaaS."""

    def __init__(self, saas: Saas) -> None:
        self.clock = FakeClock()
        self.queue = MemoryUsageQueue(1_000_000_000)
        self.saas = saas
        self.telemetry = null_telemetry()
        self.forwarder = UsageForwarder(self.queue, saas, 60.0, self.clock, Random(1), self.telemetry)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """With the service running."""
        task = asyncio.create_task(self.forwarder.run())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def usage(flag: str, count: int = 1, *, environment: EnvironmentId = ENV, padding: str = "") -> UsageCount:
    """Evaluations of one flag."""
    attributes = (("featureIdentifier", json.dumps(flag)), ("padding", json.dumps(padding)))
    return UsageCount(UsageKey(environment, "FFMETRICS", attributes), count, 1_700_000_000_000)


async def test_what_waits_is_sent_every_interval() -> None:
    """Merged counts and targets of both environments, and then nothing is left."""
    setting = Setting(Saas())
    async with setting.running():
        await setting.queue.merge([usage("a", 2), usage("a", 3, environment=OTHER)], [])
        await setting.queue.merge([usage("a", 5)], [UsageTarget(ENV, "ana", "Ana", ())])
        await setting.clock.advance(40)
        assert setting.saas.taken == {}
        await setting.clock.advance(30)
        assert setting.saas.taken == {(ENV, "a"): 7, (OTHER, "a"): 3}
        assert setting.saas.targets == ["ana"]
        assert await setting.queue.pending() == {}


async def test_much_is_sent_before_the_round_is_over() -> None:
    """Counts by target would fill the queue; those of all environments count together."""
    setting = Setting(Saas())
    many = [usage(f"f{number}") for number in range(2_500)]
    async with setting.running():
        await setting.queue.merge(many, [])
        await setting.clock.advance(15)
        assert setting.saas.taken == {}
        await setting.queue.merge([usage(f"f{n}", environment=OTHER) for n in range(2_500)], [])
        await setting.clock.advance(2)
        assert len(setting.saas.taken) == 5_000
        assert await setting.queue.pending() == {}
        await setting.queue.merge([usage("a")], [])
        await setting.clock.advance(40)
        assert (ENV, "a") not in setting.saas.taken


async def test_a_failed_post_is_kept_and_sent_again() -> None:
    """Nothing is lost and nothing doubled while SaaS is away."""
    away = True
    setting = Setting(Saas(lambda _, __: UpstreamUnavailable("away") if away else None))
    async with setting.running():
        await setting.queue.merge([usage("a", 2)], [])
        await setting.clock.advance(70)
        await setting.queue.merge([usage("a", 3)], [])
        await setting.clock.advance(70)
        assert await setting.queue.pending() == {ENV: 1}
        away = False
        await setting.clock.advance(140)
        assert setting.saas.taken == {(ENV, "a"): 5}


async def test_one_environment_never_delays_another() -> None:
    """Neither by failing nor by hanging."""
    hang = asyncio.Event()

    class Half(Saas):
        async def send(self, environment: EnvironmentId, body: bytes) -> None:
            if environment == OTHER:
                await hang.wait()
            await super().send(environment, body)

    setting = Setting(Half())
    async with setting.running():
        await setting.queue.merge([usage("a"), usage("a", environment=OTHER)], [])
        await setting.clock.advance(70)
        await setting.queue.merge([usage("b")], [])
        await setting.clock.advance(70)
        assert setting.saas.taken == {(ENV, "a"): 1, (ENV, "b"): 1}
        hang.set()
        await setting.clock.advance(1)
        assert setting.saas.taken[OTHER, "a"] == 1


async def test_large_usage_goes_in_several_bodies() -> None:
    """Each within the limit, together everything once."""
    setting = Setting(Saas())
    entries = [usage(f"f{number}", number + 1, padding="x" * 2000) for number in range(700)]
    await setting.queue.merge(entries, [])
    await setting.forwarder.flush(5)
    assert setting.saas.taken == {(ENV, f"f{number}"): number + 1 for number in range(700)}
    assert max(map(len, setting.saas.bodies)) <= 256 * 1024
    assert len(setting.saas.bodies) > 5


async def test_only_the_entry_that_saas_cannot_digest_is_dropped() -> None:
    """A 400 halves the body until the culprit is alone; it is counted."""
    setting = Setting(
        Saas(lambda _, body: UpstreamRefused("bad", status=400) if b'"poison"' in body else None)
    )
    entries = [usage(f"f{number}") for number in range(20)]
    await setting.queue.merge([*entries, usage("poison")], [UsageTarget(ENV, "ana", "Ana", ())])
    await setting.forwarder.flush(5)
    assert setting.saas.taken == {(ENV, f"f{number}"): 1 for number in range(20)}
    assert setting.saas.targets == ["ana"]
    assert await setting.queue.pending() == {}
    assert b'ff_proxy_usage_dropped_total{envID="%s",reason="refused"} 1.0' % ENV.encode() in (
        setting.telemetry.exposition()
    )


async def test_what_was_sent_before_a_failure_does_not_come_back() -> None:
    """A batch that fails in the middle is settled by halves."""
    bodies = 0

    def second_fails(_: EnvironmentId, __: bytes) -> UpstreamError | None:
        nonlocal bodies
        bodies += 1
        return UpstreamUnavailable("away") if bodies == 2 else None

    setting = Setting(Saas(second_fails))
    await setting.queue.merge([usage(f"f{number}", padding="x" * 2000) for number in range(300)], [])
    await setting.forwarder.flush(0.2)
    assert 0 < len(setting.saas.taken) < 300
    await setting.forwarder.flush(5)
    assert setting.saas.taken == {(ENV, f"f{number}"): 1 for number in range(300)}


async def test_a_flush_is_bounded_and_keeps_what_it_could_not_send() -> None:
    """A SaaS that does not answer costs the seconds given, not the counts."""
    setting = Setting(Saas())
    setting.saas.gate.clear()
    await setting.queue.merge([usage("a", 4)], [])
    async with asyncio.timeout(5):
        await setting.forwarder.flush(0.05)
    setting.saas.gate.set()
    await setting.forwarder.flush(5)
    assert setting.saas.taken == {(ENV, "a"): 4}


async def test_a_flush_uses_the_time_it_has() -> None:
    """A SaaS that fails at first gets another chance; the other environments do not wait for that."""
    tries = 0

    def first_two_fail(environment: EnvironmentId, _: bytes) -> UpstreamError | None:
        nonlocal tries
        tries += environment == ENV
        return UpstreamUnavailable("away") if environment == ENV and tries < 3 else None

    setting = Setting(Saas(first_two_fail))
    await setting.queue.merge([usage("a", 4), usage("a", 2, environment=OTHER)], [])
    flushing = asyncio.create_task(setting.forwarder.flush(60))
    await setting.clock.settle()
    assert setting.saas.taken == {(OTHER, "a"): 2}
    await setting.clock.advance(4)
    await flushing
    assert setting.saas.taken == {(ENV, "a"): 4, (OTHER, "a"): 2}


async def test_what_a_flush_leaves_is_told() -> None:
    """With a memory store it is lost with the process: somebody must be able to know."""
    lines = StringIO()
    saas = Saas(lambda _, __: UpstreamUnavailable("away"))
    queue = MemoryUsageQueue()
    clock = FakeClock()
    telemetry = Telemetry(make_logger("INFO", lines), clock)
    await queue.merge([usage("a"), usage("b")], [])
    await UsageForwarder(queue, saas, 60, clock, Random(1), telemetry).flush(0.05)
    said = [json.loads(line) for line in lines.getvalue().splitlines()]
    left = [line for line in said if line["event"] == "usage not delivered in time"]
    assert [(line["environment"], line["entries"]) for line in left] == [(ENV, 2)]


async def test_only_own_environments_are_sent() -> None:
    """In a fleet the holder of the lease sends."""
    setting = Setting(Saas())
    forwarder = UsageForwarder(
        setting.queue,
        setting.saas,
        60,
        setting.clock,
        Random(1),
        null_telemetry(),
        owns=lambda name: name == ENV,
    )
    await setting.queue.merge([usage("a"), usage("a", environment=OTHER)], [])
    await forwarder.flush(5)
    assert setting.saas.taken == {(ENV, "a"): 1}
    assert await setting.queue.pending() == {OTHER: 1}


async def test_a_failed_post_does_not_wait_for_the_next_round() -> None:
    """After a pause of seconds it is tried again, however rare the rounds are; pauses grow."""
    tries: list[float] = []

    def away_for_a_minute(_: EnvironmentId, __: bytes) -> UpstreamError | None:
        tries.append(setting.clock.monotonic())
        return UpstreamUnavailable("away") if setting.clock.monotonic() < 130 else None

    setting = Setting(Saas(away_for_a_minute))
    async with setting.running():
        await setting.queue.merge([usage("a")], [])
        await setting.clock.advance(200)
    assert setting.saas.taken == {(ENV, "a"): 1}
    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert pauses[0] < 2
    assert 8 < max(pauses) <= 30
    assert len(tries) < 12


async def test_an_environment_that_is_given_up_is_left_to_its_new_owner() -> None:
    """A process that lost the lease of an environment stops trying to send for it."""
    mine = True
    tries = 0

    def away(_: EnvironmentId, __: bytes) -> UpstreamError | None:
        nonlocal tries
        tries += 1
        return UpstreamUnavailable("away")

    setting = Setting(Saas(away))
    setting.forwarder = UsageForwarder(
        setting.queue, setting.saas, 60.0, setting.clock, Random(1), setting.telemetry, owns=lambda _: mine
    )
    async with setting.running():
        await setting.queue.merge([usage("a")], [])
        await setting.clock.advance(100)
        assert tries > 1
        mine = False
        await setting.clock.advance(30)
        seen = tries
        await setting.clock.advance(300)
        assert tries == seen


async def test_what_comes_while_it_is_sent_is_the_next_rounds() -> None:
    """SDKs that never stop posting do not make it send without end."""
    setting = Setting(Saas())

    class Chatty(Saas):
        async def send(self, environment: EnvironmentId, body: bytes) -> None:
            await super().send(environment, body)
            await setting.queue.merge([usage("a")], [])

    setting = Setting(Chatty())
    await setting.queue.merge([usage("a")], [])
    async with setting.running():
        await setting.clock.advance(70)
        assert setting.saas.taken == {(ENV, "a"): 1}
        await setting.clock.advance(60)
        assert setting.saas.taken == {(ENV, "a"): 2}


async def test_a_saas_that_refuses_everything_is_not_hammered() -> None:
    """Looking for the culprit pauses after fifty refusals, goes on, and comes to its end."""
    asked = 0

    def refuse(_: EnvironmentId, __: bytes) -> UpstreamError | None:
        nonlocal asked
        asked += 1
        return UpstreamRefused("bad", status=413)

    setting = Setting(Saas(refuse))
    await setting.queue.merge([usage(f"f{number}") for number in range(300)], [])
    async with setting.running():
        while not asked:
            await setting.clock.advance(0.4)
        assert asked == 50
        before = (await setting.queue.pending())[ENV]
        assert 200 < before < 300
        await setting.clock.advance(1000)
        assert await setting.queue.pending() == {}
    dropped = setting.telemetry.metrics.usage_dropped.labels(ENV, "refused")._value.get()
    assert dropped == 300


async def test_what_finds_no_room_when_it_is_put_back_is_counted() -> None:
    """A full queue that a half-sent batch returns to."""
    bodies = 0

    def second_fails(_: EnvironmentId, __: bytes) -> UpstreamError | None:
        nonlocal bodies
        bodies += 1
        return UpstreamUnavailable("away") if bodies == 2 else None

    setting = Setting(Saas(second_fails))
    setting.queue = MemoryUsageQueue(300 * weight(usage("f100", padding="x" * 2000)))
    setting.forwarder = UsageForwarder(
        setting.queue, setting.saas, 60.0, setting.clock, Random(1), setting.telemetry
    )
    entries = [usage(f"f{number}", padding="x" * 2000) for number in range(300)]
    await setting.queue.merge(entries, [])
    await setting.forwarder.flush(0.1)
    left = (await setting.queue.pending()).get(ENV, 0)
    dropped = setting.telemetry.metrics.usage_dropped.labels(ENV, "no room")._value.get()
    assert len(setting.saas.taken) + left + dropped == 300
    assert dropped > 0


class SlowSaas(Saas):
    """Takes a tenth of a second for each body; knows how many were on their way together."""

    def __init__(self, clock: FakeClock, most: int = 1000) -> None:
        super().__init__()
        self.clock = clock
        self.most = most
        self.together = 0
        self.highest = 0

    async def send(self, environment: EnvironmentId, body: bytes) -> None:
        self.together += 1
        self.highest = max(self.highest, self.together)
        try:
            await self.clock.sleep(0.1)
            if self.together > self.most:
                raise UpstreamUnavailable("too many requests", retry_after=1)
            await super().send(environment, body)
        finally:
            self.together -= 1


async def test_a_distant_saas_gets_many_bodies_at_once() -> None:
    """20,000 counts of one environment are there within a second, though each body takes a tenth of one."""
    setting = Setting(Saas())
    saas = SlowSaas(setting.clock)
    forwarder = UsageForwarder(setting.queue, saas, 60, setting.clock, Random(1), setting.telemetry)
    await setting.queue.merge([usage(f"f{number}") for number in range(20_000)], [])
    flushing = asyncio.create_task(forwarder.flush(60))
    began = setting.clock.monotonic()
    while not flushing.done():
        await setting.clock.advance(0.1)
    assert setting.clock.monotonic() - began <= 1
    assert len(saas.taken) == 20_000
    assert max(saas.taken.values()) == 1


async def test_a_saas_that_cannot_keep_up_gets_fewer_at_once() -> None:
    """It is left alone as long as it asks for; everything arrives, once."""
    setting = Setting(Saas())
    saas = SlowSaas(setting.clock, most=4)
    forwarder = UsageForwarder(setting.queue, saas, 60, setting.clock, Random(1), setting.telemetry)
    await setting.queue.merge([usage(f"f{number}") for number in range(15_000)], [])
    flushing = asyncio.create_task(forwarder.flush(60))
    while not flushing.done():
        await setting.clock.advance(0.1)
    assert saas.highest <= 8
    assert len(saas.taken) == 15_000
    assert max(saas.taken.values()) == 1
    assert setting.telemetry.metrics.usage_dropped.labels(ENV, "unanswered")._value.get() == 0


class Doubtful(Saas):
    """Takes what it is sent, and fails afterwards while ``broken``."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = True
        self.asked = 0

    async def send(self, environment: EnvironmentId, body: bytes) -> None:
        self.asked += 1
        await super().send(environment, body)
        if self.broken and b'"count"' in body:
            raise self.trouble()
        if self.broken and self.answers_nothing:
            raise self.trouble()

    answers_nothing = True

    @staticmethod
    def trouble() -> UpstreamUnavailable:
        error = UpstreamUnavailable("answered 504")
        error.perhaps_done = True
        return error


async def test_what_may_have_been_taken_is_sent_once_more_when_saas_is_back() -> None:
    """However long that takes, it is asked with bodies that hold nothing."""
    saas = Doubtful()
    setting = Setting(saas)
    async with setting.running():
        await setting.queue.merge([usage("a", 3)], [])
        await setting.clock.advance(600)
        assert saas.asked > 10
        assert saas.taken == {(ENV, "a"): 3}
        await setting.queue.merge([usage("a", 10)], [])
        await setting.clock.advance(300)
        assert saas.taken == {(ENV, "a"): 3}
        saas.broken = False
        await setting.clock.advance(120)
        assert saas.taken == {(ENV, "a"): 3 + 3 + 10}
        assert await setting.queue.pending() == {}


async def test_what_is_never_answered_is_given_up_after_the_second_time() -> None:
    """A SaaS that fails for bodies with counts alone does not get them over and over."""
    saas = Doubtful()
    saas.answers_nothing = False
    setting = Setting(saas)
    async with setting.running():
        await setting.queue.merge([usage("a", 3), usage("b")], [UsageTarget(ENV, "ana", "Ana", ())])
        await setting.clock.advance(900)
    assert saas.taken == {(ENV, "a"): 6, (ENV, "b"): 2}
    assert await setting.queue.pending() == {}
    assert setting.telemetry.metrics.usage_dropped.labels(ENV, "unanswered")._value.get() == 3


async def test_a_refusal_before_anything_was_taken_is_no_doubt() -> None:
    """It is sent as often as it takes, and arrives once."""
    away = True
    setting = Setting(Saas(lambda _, __: UpstreamUnavailable("429", retry_after=5) if away else None))
    async with setting.running():
        await setting.queue.merge([usage("a", 3)], [])
        await setting.clock.advance(300)
        away = False
        await setting.clock.advance(60)
    assert setting.saas.taken == {(ENV, "a"): 3}


async def test_what_is_in_doubt_goes_back_to_the_queue_when_another_process_takes_over() -> None:
    """This one sends it no more."""
    saas = Doubtful()
    mine = True
    setting = Setting(saas)
    setting.forwarder = UsageForwarder(
        setting.queue, saas, 60.0, setting.clock, Random(1), setting.telemetry, owns=lambda _: mine
    )
    async with setting.running():
        await setting.queue.merge([usage("a", 3)], [])
        await setting.clock.advance(100)
        mine = False
        saas.broken = False
        await setting.clock.advance(100)
    assert saas.taken == {(ENV, "a"): 3}
    lease = await setting.queue.take(ENV, 10)
    assert lease is not None
    assert lease.counts == (usage("a", 3),)


async def test_what_one_environment_stumbles_over_is_not_the_others() -> None:
    """An error that nobody expects is reported, and the others' usage goes on."""

    def answer(environment: EnvironmentId, _: bytes) -> UpstreamError | None:
        if environment == OTHER:
            raise IndexError("nobody expects that")
        return None

    setting = Setting(Saas(answer))
    async with setting.running():
        for count in (1, 2):
            await setting.queue.merge([usage("a"), usage("b", environment=OTHER)], [])
            await setting.clock.advance(70)
            assert setting.saas.taken == {(ENV, "a"): count}
    figures = setting.telemetry.exposition().decode()
    assert 'ff_proxy_service_failures_total{service="usage forwarder"}' in figures
