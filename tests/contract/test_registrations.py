"""What every queue of target registrations keeps to, whatever store it lives in."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.store.protocol import Registration, Store

Stores = Callable[..., AbstractAsyncContextManager[Store]]

ENV = EnvironmentId("5b3ae4f2-46a4-4e0a-a2f6-24d8ff2f3a11")
OTHER = EnvironmentId("b1dc1c9f-5a3f-41d7-8a4e-0c8e2f9e3b22")


def registration(identifier: str, *, environment: EnvironmentId = ENV, **attributes: object) -> Registration:
    """A target on its way."""
    return Registration(environment, Target(identifier, identifier.title(), attributes))


async def test_targets_come_out_oldest_first_and_unchanged(stores: Stores) -> None:
    """Attributes of any JSON type survive; the limit is kept."""
    waiting = [registration("a", ages=[1, None, {"x": 1.5}]), registration("b"), registration("c")]
    async with stores() as store:
        for one in waiting:
            assert await store.registrations.add(one)
        assert list(await store.registrations.take(ENV, 2)) == waiting[:2]
        assert list(await store.registrations.take(ENV, 2)) == waiting[2:]


async def test_environments_that_have_something_waiting_are_known(stores: Stores) -> None:
    """At once, and until everything was taken; of another there is nothing to take."""
    async with stores() as store:
        assert list(await store.registrations.take(ENV, 5)) == []
        await store.registrations.add(registration("a"))
        await store.registrations.add(registration("b"))
        assert set(await store.registrations.waiting()) == {ENV}
        assert list(await store.registrations.take(OTHER, 5)) == []
        (taken,) = await store.registrations.take(ENV, 1)
        assert ENV in await store.registrations.waiting()
        await store.registrations.take(ENV, 1)
        await store.registrations.complete(taken, delivered=False)
        assert ENV in await store.registrations.waiting()


async def test_one_entry_waits_per_target(stores: Stores) -> None:
    """A newer description replaces the waiting one; another environment's target is another target."""
    async with stores() as store:
        await store.registrations.add(registration("a", age=1))
        await store.registrations.add(registration("a", environment=OTHER))
        await store.registrations.add(registration("a", age=2))
        assert list(await store.registrations.take(ENV, 5)) == [registration("a", age=2)]
        assert list(await store.registrations.take(OTHER, 5)) == [registration("a", environment=OTHER)]


async def test_a_delivered_target_is_queued_again_only_if_it_changed(stores: Stores) -> None:
    """Equal means equal content, in whatever order the attributes stand."""
    async with stores() as store:
        await store.registrations.add(registration("a", x=1, y=2))
        (sent,) = await store.registrations.take(ENV, 5)
        await store.registrations.complete(sent, delivered=True)

        assert await store.registrations.add(registration("a", y=2, x=1))
        assert await store.registrations.add(registration("a", x=1, y=3))

        assert list(await store.registrations.take(ENV, 5)) == [registration("a", x=1, y=3)]


async def test_a_discarded_target_may_come_again(stores: Stores) -> None:
    """Nobody was told of it; what came meanwhile stays."""
    async with stores() as store:
        await store.registrations.add(registration("a"))
        await store.registrations.add(registration("b", age=1))
        gone, replaced = await store.registrations.take(ENV, 2)
        await store.registrations.add(registration("b", age=2))
        for one in (gone, replaced):
            await store.registrations.discard(one)
        assert list(await store.registrations.take(ENV, 5)) == [registration("b", age=2)]
        assert await store.registrations.add(registration("a"))
        assert list(await store.registrations.take(ENV, 5)) == [registration("a")]


async def test_an_undelivered_target_is_queued_again_at_the_end(stores: Stores) -> None:
    """The one that failed does not stand in the way of the others."""
    async with stores() as store:
        await store.registrations.add(registration("a"))
        (failed,) = await store.registrations.take(ENV, 1)
        await store.registrations.add(registration("b"))
        await store.registrations.complete(failed, delivered=False)
        assert list(await store.registrations.take(ENV, 5)) == [registration("b"), registration("a")]


async def test_an_undelivered_target_gives_way_to_its_newer_description(stores: Stores) -> None:
    """What SaaS is told last is what was said last."""
    async with stores() as store:
        await store.registrations.add(registration("a", age=1))
        (failed,) = await store.registrations.take(ENV, 1)
        await store.registrations.add(registration("a", age=2))
        await store.registrations.complete(failed, delivered=False)
        assert list(await store.registrations.take(ENV, 5)) == [registration("a", age=2)]


async def test_an_equal_target_is_not_queued_while_it_is_being_sent(stores: Stores) -> None:
    """Two connections of one target at once are one registration, even if the first attempt fails."""
    async with stores() as store:
        await store.registrations.add(registration("a"))
        (taken,) = await store.registrations.take(ENV, 1)
        assert await store.registrations.add(registration("a"))
        await store.registrations.complete(taken, delivered=False)
        assert list(await store.registrations.take(ENV, 5)) == [registration("a")]


async def test_a_full_queue_says_so(stores: Stores) -> None:
    """No room for another target, but a waiting one may still be described anew."""
    long = "x" * 10_000
    async with stores(registrations=16_000) as store:
        assert await store.registrations.add(registration("a", about=long))
        assert not await store.registrations.add(registration("b", about=long))
        assert await store.registrations.add(registration("a", about=long + "x"))
        (taken,) = await store.registrations.take(ENV, 5)
        assert taken == registration("a", about=long + "x")
        assert not await store.registrations.add(registration("b", about=long))
        await store.registrations.complete(taken, delivered=True)
        assert await store.registrations.add(registration("b", about=long))
