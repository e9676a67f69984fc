"""How many bodies are sent at once, and what is done about those that were not answered."""

import asyncio
from random import Random

from ff_proxy.errors import UpstreamError, UpstreamUnavailable
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import UsageTarget
from ff_proxy.usage.forwarder import UsageForwarder
from tests.support.clock import FakeClock
from tests.support.usage_forwarder import ENV, OTHER, Saas, Setting, usage


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
