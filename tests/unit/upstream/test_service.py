"""All environments: each on its own, and honest about how far they have come."""

import asyncio
from collections.abc import Callable

import pytest

from ff_proxy.errors import UpstreamRefused, UpstreamUnavailable
from ff_proxy.model.environment import EnvironmentConfig, EnvironmentInfo, StreamState
from ff_proxy.model.keys import EnvironmentId, KeyVerdict, SdkKey, hash_key
from ff_proxy.model.readiness import Readiness
from ff_proxy.upstream.environment import Environment
from ff_proxy.upstream.leadership import SoleLeader, Work
from tests.support.saas import ENV, KEY, error, flag_doc
from tests.unit.upstream.world import AWAY, ENVIRONMENT, Fleet, World, running

OTHER = EnvironmentId("9c1f0f6e-0000-4000-8000-000000000002")
OTHER_KEY = SdkKey("other-server-key")
SECOND_KEY = SdkKey("second-server-key")
BAD_KEY = SdkKey("badkey-that-is-long")
FLAGS = "/client/env/{env}/feature-configs"


async def loaded(world: World) -> set[str]:
    """The environments that the store holds."""
    return set(await world.configs.environments())


async def test_all_environments_come_up(world: World) -> None:
    """And only then it is ready."""
    world.saas.environment(OTHER, OTHER_KEY).put_flag(flag_doc())
    service = world.service(KEY, OTHER_KEY)
    assert not service.readiness().ready
    assert service.readiness().loaded == 0
    async with running(service.run()):
        await world.clock.advance(2)
        assert await loaded(world) == {ENV, OTHER}
        assert service.readiness() == Readiness(loaded=2)


async def test_ready_does_not_run_ahead_of_what_is_served(world: World) -> None:
    """What the store holds counts once this process answers from it."""
    service = world.service(KEY)
    async with running(service.run()):
        world.lagging = True
        await world.clock.advance(2)
        assert await loaded(world) == {ENV}
        behind = service.readiness()
        assert (behind.ready, behind.loaded) == (False, 0)
        assert behind.pending == (f"environment {ENV}: not loaded from the store yet",)
        world.lagging = False
        assert service.readiness() == Readiness(loaded=1)


async def test_two_keys_of_one_environment(world: World) -> None:
    """It is kept in step once, with both keys valid."""
    world.saas.environment(ENV, SECOND_KEY)
    world.saas.environments[ENV].hashes.clear()
    service = world.service(KEY, SECOND_KEY)
    async with running(service.run()):
        await world.clock.advance(2)
        assert len(world.saas.streams) == 1
        assert world.saas.count(FLAGS) == 1
        assert service.readiness() == Readiness(loaded=1, degraded=service.readiness().degraded)
        config = await world.configs.environment(ENVIRONMENT)
        assert config is not None
        assert config.keys == {KEY.hash, SECOND_KEY.hash}


async def test_first_key_revoked_second_takes_over(world: World) -> None:
    """Without the environment noticing."""
    world.saas.environment(ENV, SECOND_KEY)
    service = world.service(KEY, SECOND_KEY)
    async with running(service.run()):
        await world.clock.advance(20)
        first = world.saas.streams[-1].request.headers["API-Key"]
        del world.saas.keys[first]
        world.saas.expire_tokens()
        world.saas.streams[-1].end()
        await world.clock.advance(5)
        status = (await world.configs.statuses())[ENVIRONMENT]
        assert status.state is StreamState.CONNECTED
        assert world.saas.streams[-1].request.headers["API-Key"] != first


async def test_bad_key_delays_nobody(world: World) -> None:
    """It is refused, said so without the key, and does not keep the others from being ready."""
    service = world.service(BAD_KEY, KEY)
    async with running(service.run()):
        await world.clock.advance(2)
        readiness = service.readiness()
        assert readiness.ready
        assert readiness.refused == (f"key {BAD_KEY.masked}: refused by Harness with 403",)
        assert BAD_KEY.reveal() not in world.log
        (line,) = world.said(AWAY)
        assert (line["level"], line["key"]) == ("error", BAD_KEY.masked)
        assert "api-keys" in str(line["cause"])


async def test_refused_key_is_tried_again(world: World) -> None:
    """About every minute; once SaaS takes it, its environment comes up without a restart."""
    service = world.service(BAD_KEY, KEY)
    async with running(service.run()):
        await world.clock.advance(150)
        world.saas.environment(OTHER, BAD_KEY)
        await world.clock.advance(70)
        assert service.readiness() == Readiness(loaded=2)
        assert await loaded(world) == {ENV, OTHER}


async def test_nothing_but_bad_keys_is_never_ready(world: World) -> None:
    """There is nothing to serve."""
    service = world.service(BAD_KEY)
    async with running(service.run()):
        await world.clock.advance(600)
        assert not service.readiness().ready


async def test_saas_away_at_start(world: World) -> None:
    """Pending, tried with growing waits, and up when SaaS is back."""
    world.saas.down = True
    service = world.service(KEY)
    async with running(service.run()):
        await world.clock.advance(300)
        (pending,) = service.readiness().pending
        assert pending == f"key {KEY.masked}: connection refused"
        assert world.saas.count("/client/auth") < 20
        world.saas.down = False
        await world.clock.advance(33)
        assert service.readiness().ready


async def test_slow_environment_delays_nobody(world: World) -> None:
    """It is pending by its name."""
    world.saas.environment(OTHER, OTHER_KEY)
    world.saas.next[FLAGS] = [error(500)] * 3
    service = world.service(KEY, OTHER_KEY)
    async with running(service.run()):
        await world.clock.settle()
        assert not service.readiness().ready
        assert all("environment" in entry for entry in service.readiness().pending)
        await world.clock.advance(20)
        assert service.readiness().loaded == 2


async def test_starting_is_bounded(world: World) -> None:
    """A hundred keys are not a hundred requests at once."""
    keys = [SdkKey(f"server-key-{number}") for number in range(100)]
    for number, key in enumerate(keys):
        world.saas.environment(f"env-{number}", key)
    gate = world.saas.gates["/client/auth"] = asyncio.Event()
    service = world.service(*keys)
    async with running(service.run()):
        await world.clock.settle()
        assert world.saas.count("/client/auth") == 16
        gate.set()
        for _ in range(30):
            await world.clock.settle()
        await world.clock.advance(2)
        assert service.readiness().loaded == 100


async def test_environment_refused_before_it_was_loaded(world: World) -> None:
    """Its key is accepted, its data is not: refused, not pending."""
    world.saas.environment(OTHER, OTHER_KEY)
    service = world.service(KEY)
    world.saas.always[FLAGS] = error(403)
    async with running(service.run()):
        await world.clock.advance(5)
        (refused,) = service.readiness().refused
        assert refused.startswith(f"environment {ENV}: not up to date")
        assert service.readiness().pending == ()


async def test_losing_saas_afterwards_is_degraded(world: World) -> None:
    """Still ready."""
    service = world.service(KEY)
    async with running(service.run()):
        await world.clock.advance(20)
        world.saas.down = True
        world.saas.streams[-1].end(UpstreamUnavailable("reset"))
        await world.clock.advance(100)
        readiness = service.readiness()
        assert readiness.ready
        assert readiness.loaded == 1
        (reason,) = readiness.degraded
        assert "stream down" in reason
        assert "keys not refreshed" in reason


async def test_wrong_admin_token_is_degraded(world: World) -> None:
    """Flags are served; the operator is told what to look at."""
    world.saas.always["/admin/apikey"] = error(401)
    service = world.service(KEY)
    async with running(service.run()):
        await world.clock.advance(2)
        assert service.readiness().ready
        assert "admin-service-token refused with 401" in service.readiness().degraded[0]


async def test_stored_environments_are_loaded_while_saas_is_away(world: World) -> None:
    """After a restart with a store that survived it; another's environments do not count."""
    info = EnvironmentInfo(ENVIRONMENT)
    await world.configs.replace(EnvironmentConfig(info, {}, {}, frozenset({KEY.hash})))
    stranger = EnvironmentConfig(EnvironmentInfo(OTHER), {}, {}, frozenset({hash_key("stranger")}))
    await world.configs.replace(stranger)
    world.saas.down = True
    service = world.service(KEY)
    async with running(service.run()):
        await world.clock.settle()
        readiness = service.readiness()
        assert readiness.ready
        assert readiness.loaded == 1
        assert readiness.degraded == (f"environment {ENV}: serving stored data; connection refused",)
        status = (await world.configs.statuses())[ENVIRONMENT]
        assert status.state is StreamState.INITIALIZING


async def test_stored_environment_whose_key_is_refused(world: World) -> None:
    """Refused, and served all the same."""
    info = EnvironmentInfo(ENVIRONMENT)
    await world.configs.replace(EnvironmentConfig(info, {}, {}, frozenset({BAD_KEY.hash})))
    service = world.service(BAD_KEY)
    async with running(service.run()):
        await world.clock.settle()
        assert service.readiness().ready
        assert service.readiness().refused


async def test_store_away_at_start(world: World) -> None:
    """It is waited for."""
    world.configs.away = True
    service = world.service(KEY)
    async with running(service.run()):
        await world.clock.advance(10)
        assert not service.readiness().ready
        world.configs.away = False
        await world.clock.advance(31)
        assert service.readiness().ready


async def test_accepting_a_key(world: World) -> None:
    """Of an environment that is served, of one that is not, and of one that may be."""
    service = world.service(KEY, OTHER_KEY)
    world.saas.environment(OTHER, OTHER_KEY)
    gate = world.saas.gates["/client/auth"] = asyncio.Event()
    async with running(service.run()):
        await world.clock.settle()
        assert await service.accept(ENVIRONMENT, hash_key("x")) is KeyVerdict.UNAVAILABLE
        assert await service.accept(EnvironmentId("none"), hash_key("x")) is KeyVerdict.UNAVAILABLE
        gate.set()
        await world.clock.advance(2)
        assert await service.accept(ENVIRONMENT, hash_key("x")) is KeyVerdict.ACCEPTED
        assert await service.accept(EnvironmentId("none"), hash_key("x")) is KeyVerdict.REFUSED
        config = await world.configs.environment(ENVIRONMENT)
        assert config is not None
        assert hash_key("x") in config.keys


async def test_processes_take_turns_with_growing_backoff(world: World) -> None:
    """While Harness is down for all, each turn is longer than the last; success resets it."""

    class Turns(SoleLeader):
        """A fleet in which this process leads whenever it may."""

        contested = True

        def __init__(self) -> None:
            self.lasted: list[float] = []

        async def lead(
            self, environment: EnvironmentId, work: Work, is_unreachable: Callable[[], bool]
        ) -> None:
            while True:
                began = world.clock.monotonic()
                async with running(super().lead(environment, work, is_unreachable)):
                    while not is_unreachable():
                        await world.clock.sleep(1)
                self.lasted.append(world.clock.monotonic() - began)

    turns = Turns()
    service = world.service(KEY, leadership=turns)
    async with running(service.run()):
        await world.clock.advance(30)
        assert turns.lasted == []
        world.saas.down = True
        world.saas.streams[-1].end(UpstreamUnavailable("reset"))
        await world.clock.advance(200)
        first, second, third, *_ = turns.lasted
        # From the reset, not from when the process began to lead.
        assert first - 30 < 10
        assert second < third
        assert third > 20
        world.saas.down = False
        await world.clock.advance(200)
        assert service.readiness() == Readiness(loaded=1)


async def test_silence_is_noticed_before_a_stream_breaks(world: World) -> None:
    """A black hole: nothing is refused or reset, there are just no answers any more."""
    fleet = Fleet()
    service = world.service(KEY, leadership=fleet)
    async with running(service.run()):
        await world.clock.advance(60)
        assert not fleet.unreachable[ENVIRONMENT]()
        for route in ("/client/env/{env}/feature-configs/{id}", "/client/env/{env}/feature-configs"):
            world.saas.gates[route] = asyncio.Event()
        await world.clock.advance(13)
        assert fleet.unreachable[ENVIRONMENT]()
        for gate in world.saas.gates.values():
            gate.set()
        world.saas.gates.clear()
        await world.clock.advance(5)
        assert not fleet.unreachable[ENVIRONMENT]()


async def test_who_is_refused_by_somebody_in_between_lets_others_try(world: World) -> None:
    """The stream has ended, and whatever is asked is forbidden; elsewhere it need not be."""
    fleet = Fleet()
    service = world.service(KEY, leadership=fleet)
    async with running(service.run()):
        await world.clock.advance(60)
        world.saas.streaming = False
        world.saas.streams[-1].end()
        for route in ("/client/env/{env}/feature-configs/{id}", "/client/env/{env}/feature-configs"):
            world.saas.always[route] = error(403)
        await world.clock.advance(13)
        assert fleet.unreachable[ENVIRONMENT]()
        world.saas.always.clear()
        await world.clock.advance(5)
        assert not fleet.unreachable[ENVIRONMENT]()


async def test_one_refused_key_says_nothing_of_other_environments(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of them is asked first."""

    async def probe(environment: Environment, deadline: float) -> None:
        del deadline
        if environment._name == "other":
            raise UpstreamRefused("no longer", status=403)

    monkeypatch.setattr(Environment, "probe", probe)
    other = SdkKey("22222222-other-key")
    world.saas.environment("other", other)
    fleet = Fleet()
    service = world.service(KEY, other, leadership=fleet)
    async with running(service.run()):
        await world.clock.advance(60)
        world.saas.streaming = False
        for stream in world.saas.streams:
            stream.end()
        for _ in range(20):
            await world.clock.advance(1)
            assert not fleet.unreachable[ENVIRONMENT]()
        assert set(fleet.unreachable) == {ENVIRONMENT, "other"}
