"""Usage reaches SaaS once, whole, and each environment on its own."""

import asyncio
import json
from io import StringIO
from itertools import pairwise
from random import Random

from ff_proxy.errors import UpstreamError, UpstreamRefused, UpstreamUnavailable
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import UsageTarget, weight
from ff_proxy.store.memory.queues import MemoryUsageQueue
from ff_proxy.telemetry import Telemetry, null_telemetry
from ff_proxy.telemetry.logs import make_logger
from ff_proxy.usage.forwarder import UsageForwarder
from tests.support.clock import FakeClock
from tests.support.usage_forwarder import ENV, OTHER, Saas, Setting, usage


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


async def test_what_was_not_sent_of_a_batch_has_its_room_in_a_full_queue() -> None:
    """Nothing is lost of a half-sent batch that returns."""
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
    assert 0 < len(setting.saas.taken) < 300
    assert len(setting.saas.taken) + left == 300
    assert dropped == 0
