"""A worker knows without asking when something has changed."""

import asyncio
import os

import pytest

from ff_proxy.ipc import (
    IpcStore,
    SharedGenerations,
)
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.store.protocol import UNKNOWN, Notice, PutItem
from tests.support.configs import ENVIRONMENT, config, flag
from tests.support.ipc_pair import Pair


async def test_nobody_is_told_of_a_change_before_its_generation_has_moved(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by a notice nor by a read, which may come before it."""
    before = pair.generations.environment(ENVIRONMENT)
    async with pair.worker.configs.watch() as notices:
        revision = await pair.store.configs.replace(config(flag()))
        async with asyncio.timeout(5):
            assert await anext(notices) == Notice(ENVIRONMENT, revision)
        told = pair.generations.environment(ENVIRONMENT)
        assert told > before
    # A notice that is late: what is read now is nobody's news yet.
    monkeypatch.setattr(pair.store.configs._feed, "publish", lambda _: None)
    await pair.store.configs.apply(ENVIRONMENT, PutItem(flag(version=2)))
    assert pair.generations.environment(ENVIRONMENT) == told
    assert await pair.worker.configs.environment(ENVIRONMENT) is not None
    read = pair.generations.environment(ENVIRONMENT)
    assert read > told
    await pair.store.configs.remove(ENVIRONMENT)
    assert await pair.worker.configs.environments() == {}
    assert pair.generations.environment(ENVIRONMENT) > read


async def test_targets_are_known_without_asking_until_they_move(pair: Pair) -> None:
    """A peek is right or no answer, also after another worker wrote."""
    assert pair.worker.targets.peek(ENVIRONMENT, "ana") is UNKNOWN
    assert await pair.worker.targets.get(ENVIRONMENT, "ana") is None
    assert pair.worker.targets.peek(ENVIRONMENT, "ana") is None
    async with IpcStore(pair.socket, pair.generations, pair.clock) as other:
        await other.targets.put(ENVIRONMENT, Target("ana", "Ana", {"a": 1}))
    assert pair.worker.targets.peek(ENVIRONMENT, "ana") is UNKNOWN
    found = await pair.worker.targets.get(ENVIRONMENT, "ana")
    assert found == Target("ana", "Ana", {"a": 1})
    assert pair.worker.targets.peek(ENVIRONMENT, "ana") is found
    pair.generations.bump_target(ENVIRONMENT, "ana")
    assert await pair.worker.targets.get(ENVIRONMENT, "ana") is found
    await pair.worker.targets.put(ENVIRONMENT, Target("ana"), keep_attributes=True)
    assert await pair.worker.targets.get(ENVIRONMENT, "ana") == Target("ana", "", {"a": 1})


async def test_polled_targets_move_the_generation_where_they_changed(pair: Pair) -> None:
    """A poll that brings what is known costs no worker a question."""
    for name in ("ana", "bob"):
        await pair.targets.put(ENVIRONMENT, Target(name))
        await pair.worker.targets.get(ENVIRONMENT, name)
    await pair.targets.put_many(ENVIRONMENT, [Target("ana"), Target("bob", "Bob")])
    assert pair.worker.targets.peek(ENVIRONMENT, "ana") == Target("ana")
    assert pair.worker.targets.peek(ENVIRONMENT, "bob") is UNKNOWN
    assert await pair.worker.targets.get(ENVIRONMENT, "bob") == Target("bob", "Bob")


async def test_a_target_that_is_read_while_it_is_written_is_counted(pair: Pair) -> None:
    """One worker must not see the new one and another, asked next, the old one."""
    await pair.targets.put(ENVIRONMENT, Target("ana", "old"))
    store, go = pair.store.targets, asyncio.Event()
    put = store.put

    async def slow(
        environment: EnvironmentId,
        target: Target,
        *,
        keep_attributes: bool = False,
        described_at: int | None = None,
    ) -> None:
        await put(environment, target, keep_attributes=keep_attributes, described_at=described_at)
        await go.wait()

    store.put = slow  # type: ignore[method-assign]
    async with IpcStore(pair.socket, pair.generations, pair.clock) as other:
        assert await other.targets.get(ENVIRONMENT, "ana") == Target("ana", "old")
        putting = asyncio.create_task(pair.worker.targets.put(ENVIRONMENT, Target("ana", "new")))
        while await pair.worker.targets.get(ENVIRONMENT, "ana") != Target("ana", "new"):  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert other.targets.peek(ENVIRONMENT, "ana") is UNKNOWN
        go.set()
        await putting


def test_generations_are_counted_apart() -> None:
    """Targets of one name in two environments have counters of their own (but for chance)."""
    other = EnvironmentId("00000000-0000-4000-8000-000000000002")
    with SharedGenerations() as generations:
        generations.bump_target(ENVIRONMENT, "ana")
        assert generations.target_reader(ENVIRONMENT, "ana")() == 1
        assert generations.target_reader(other, "ana")() == 0
        generations.bump_environment(other)
        assert (generations.environment(other), generations.environment(ENVIRONMENT)) == (1, 0)
        generations.bump_all()
        assert generations.target_reader(ENVIRONMENT, "ana")() == 2
        assert generations.environment(ENVIRONMENT) == 1


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_generations_are_shared_with_children() -> None:
    """What one process counts, another sees."""
    with SharedGenerations() as generations:
        child = os.fork()
        if not child:
            generations.bump_environment(ENVIRONMENT)
            os._exit(0)
        os.waitpid(child, 0)
        assert generations.environment(ENVIRONMENT) == 1
