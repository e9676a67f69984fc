"""Targets are made known to SaaS in the background."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random

import pytest

from ff_proxy.errors import (
    StoreUnavailable,
    UpstreamError,
    UpstreamPending,
    UpstreamRefused,
    UpstreamUnavailable,
)
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.store.memory.queues import MemoryRegistrations
from ff_proxy.store.protocol import Registration
from ff_proxy.telemetry import Telemetry, null_telemetry
from ff_proxy.telemetry.logs import make_logger
from ff_proxy.usage.registration_forwarder import RegistrationForwarder
from tests.support.clock import FakeClock

ENV = EnvironmentId("5b3ae4f2-46a4-4e0a-a2f6-24d8ff2f3a11")
OTHER = EnvironmentId("b1dc1c9f-5a3f-41d7-8a4e-0c8e2f9e3b22")


class Saas:
    """Registers targets, or answers with an error."""

    def __init__(self, answer: Callable[[Target], UpstreamError | None]) -> None:
        self.answer = answer
        self.known: list[str] = []
        self.asked = 0

    async def register(self, environment: EnvironmentId, target: Target) -> None:
        assert environment in {ENV, OTHER}
        self.asked += 1
        error = self.answer(target)
        if error is not None:
            raise error
        self.known.append(target.identifier)


@asynccontextmanager
async def forwarding(
    saas: Saas, queue: MemoryRegistrations, clock: FakeClock, *given_up: EnvironmentId
) -> AsyncIterator[None]:
    """With the service running; no configured key is of the environments that are ``given_up``."""
    forwarder = RegistrationForwarder(
        queue, saas, clock, Random(1), null_telemetry(), given_up=lambda name: name in given_up
    )
    task = asyncio.create_task(forwarder.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_every_target_is_registered_once() -> None:
    """An equal one is not sent again."""
    saas, queue, clock = Saas(lambda _: None), MemoryRegistrations(), FakeClock()
    async with forwarding(saas, queue, clock):
        for _ in range(2):
            for number in range(30):
                await queue.add(Registration(ENV, Target(f"t{number}")))
            await clock.advance(5)
    assert sorted(saas.known) == sorted(f"t{number}" for number in range(30))


async def test_a_crowd_is_registered_at_leisure() -> None:
    """Serving SDKs goes before: so many a second, and in the end all of them."""
    saas, queue, clock = Saas(lambda _: None), MemoryRegistrations(), FakeClock()
    async with forwarding(saas, queue, clock):
        for number in range(1000):
            await queue.add(Registration(ENV, Target(f"t{number}")))
        await clock.advance(1)
        assert 150 < len(saas.known) < 250
        await clock.advance(5)
    assert len(saas.known) == 1000


async def test_a_saas_that_is_away_is_asked_again_and_not_hammered() -> None:
    """Waits grow; when it is back the target arrives."""
    away = True
    saas = Saas(lambda _: UpstreamUnavailable("away") if away else None)
    queue, clock = MemoryRegistrations(), FakeClock()
    async with forwarding(saas, queue, clock):
        await queue.add(Registration(ENV, Target("ana")))
        await clock.advance(300)
        assert 5 < saas.asked < 40
        away = False
        await clock.advance(60)
    assert saas.known == ["ana"]


async def test_what_waits_for_the_first_key_is_no_trouble() -> None:
    """After a restart SDKs come before Harness has accepted the keys; that is told where it lasts."""
    pending = True
    saas = Saas(lambda _: UpstreamPending("no key yet") if pending else None)
    queue, clock, lines = MemoryRegistrations(), FakeClock(), io.StringIO()
    telemetry = Telemetry(make_logger("DEBUG", lines), clock)
    forwarder = RegistrationForwarder(queue, saas, clock, Random(1), telemetry)
    task = asyncio.create_task(forwarder.run())
    await queue.add(Registration(ENV, Target("ana")))
    await clock.advance(20)
    pending = False
    await clock.advance(60)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert saas.known == ["ana"]
    assert not lines.getvalue()


@pytest.mark.parametrize(("status", "tries"), [(400, 1), (413, 1), (403, 2)])
async def test_a_target_that_saas_cannot_digest_is_let_go(status: int, tries: int) -> None:
    """A no to the target is final, a no to our key is not."""
    saas = Saas(lambda target: UpstreamRefused("no", status=status) if target.identifier == "odd" else None)
    queue, clock = MemoryRegistrations(), FakeClock()
    async with forwarding(saas, queue, clock):
        await queue.add(Registration(ENV, Target("odd")))
        await clock.advance(1.5)
        await queue.add(Registration(ENV, Target("ana")))
        await clock.advance(5)
    assert saas.known == ["ana"]
    assert (saas.asked - 1 >= tries) if tries > 1 else saas.asked == 2


async def test_an_environment_that_fails_rests_while_the_others_go_on() -> None:
    """However many of its targets wait, and however busy the others are."""
    saas = Saas(lambda target: UpstreamUnavailable("away") if target.identifier.startswith("bad") else None)
    queue, clock = MemoryRegistrations(), FakeClock()
    async with forwarding(saas, queue, clock):
        for number in range(50):
            await queue.add(Registration(OTHER, Target(f"bad{number}")))
        for number in range(100):
            await queue.add(Registration(ENV, Target(f"t{number}")))
            await clock.advance(0.3)
        await clock.advance(60)
    assert sorted(saas.known) == sorted(f"t{number}" for number in range(100))
    assert saas.asked - 100 < 300  # at most a batch each time it has rested


@pytest.mark.parametrize("where", ["Harness", "the store"])
async def test_an_environment_that_hangs_delays_no_other(where: str) -> None:
    """Neither where Harness does not answer for its targets, nor where its part of the store does not."""
    hang = asyncio.Event()

    class Hanging(MemoryRegistrations):
        async def complete(self, registration: Registration, *, delivered: bool) -> None:
            if registration.environment == OTHER and where == "the store":
                await hang.wait()
            await super().complete(registration, delivered=delivered)

    class SlowSaas(Saas):
        async def register(self, environment: EnvironmentId, target: Target) -> None:
            if environment == OTHER and where == "Harness":
                await hang.wait()
            await super().register(environment, target)

    saas, queue, clock = SlowSaas(lambda _: None), Hanging(), FakeClock()
    for number in range(100):
        await queue.add(Registration(OTHER, Target(f"other{number}")))
    async with forwarding(saas, queue, clock):
        await clock.advance(3)
        for number in range(100):
            await queue.add(Registration(ENV, Target(f"t{number}")))
        await clock.advance(20)
        assert {f"t{number}" for number in range(100)} <= set(saas.known)
        hang.set()
        await clock.advance(5)
    assert len(saas.known) == 200


async def test_an_environment_that_is_refused_for_an_hour_is_given_up() -> None:
    """Its targets must not take the room of others for ever; an outage alone gives up nothing."""
    error: UpstreamError | None = UpstreamUnavailable("away")
    saas = Saas(lambda _: error)
    queue, clock = MemoryRegistrations(1200), FakeClock(turns=15)
    async with forwarding(saas, queue, clock):
        await queue.add(Registration(ENV, Target("ana")))
        await clock.advance(4000)
        assert not await queue.add(Registration(OTHER, Target("ben")))
        error = UpstreamRefused("no such key", status=403)
        await clock.advance(3000)
        assert not await queue.add(Registration(OTHER, Target("ben")))
        await clock.advance(1000)
        error = None
        assert await queue.add(Registration(OTHER, Target("ben")))
        await clock.advance(60)
        assert saas.known == ["ben"]
        # Its SDKs still come, and it works again.
        assert await queue.add(Registration(ENV, Target("ana")))
        await clock.advance(4000)
    assert saas.known == ["ben", "ana"]


async def test_a_store_that_is_away_for_a_moment_ends_nothing() -> None:
    """Neither in taking nor in settling."""

    class Shaky(MemoryRegistrations):
        failures = 0

        async def take(self, environment: EnvironmentId, limit: int) -> Sequence[Registration]:
            self.failures += 1
            if self.failures == 1:
                raise StoreUnavailable("no answer")
            return await super().take(environment, limit)

        async def complete(self, registration: Registration, *, delivered: bool) -> None:
            await super().complete(registration, delivered=delivered)
            self.failures += 1
            if self.failures == 3:
                raise StoreUnavailable("no answer")

    saas, queue, clock = Saas(lambda _: None), Shaky(), FakeClock()
    async with forwarding(saas, queue, clock):
        await queue.add(Registration(ENV, Target("ana")))
        await clock.advance(5)
        await queue.add(Registration(ENV, Target("ben")))
        await clock.advance(5)
    assert saas.known == ["ana", "ben"]
    assert queue.failures > 3


async def test_an_environment_without_a_configured_key_is_given_up_at_once() -> None:
    """Its targets fill no queue, and Harness is not asked."""
    saas, queue, clock = Saas(lambda _: None), MemoryRegistrations(), FakeClock()
    for name in (ENV, OTHER):
        await queue.add(Registration(name, Target(f"target of {name}")))
    async with forwarding(saas, queue, clock, OTHER):
        await clock.advance(5)
    assert saas.known == [f"target of {ENV}"]
    assert saas.asked == 1
    # A key of it is configured again.
    assert await queue.add(Registration(OTHER, Target(f"target of {OTHER}")))
    async with forwarding(saas, queue, clock):
        await clock.advance(5)
    assert saas.known == [f"target of {ENV}", f"target of {OTHER}"]
