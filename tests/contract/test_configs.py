"""What every store promises about environments (store/protocol.py)."""

import asyncio

import msgspec

from ff_proxy.model.environment import Action, Domain, StreamState, UpstreamStatus
from ff_proxy.model.keys import EnvironmentId, hash_key
from ff_proxy.store.protocol import DropItem, Notice, PutItem, SetKeys, Store
from tests.support.configs import ENVIRONMENT, config, flag, segment

OTHER = EnvironmentId("00000000-0000-4000-8000-000000000002")


async def test_nothing_is_held_at_first(store: Store) -> None:
    """An empty store says so."""
    assert await store.configs.environments() == {}
    assert await store.configs.environment(ENVIRONMENT) is None
    assert await store.configs.statuses() == {}


async def test_what_is_replaced_is_read_back(store: Store) -> None:
    """Everything of an environment survives the store."""
    written = config(flag(), segment(), keys=("one", "two"))
    revision = await store.configs.replace(written)
    held = await store.configs.environment(ENVIRONMENT)
    assert held is not None
    assert held.info == written.info
    assert held.flags == written.flags
    assert held.segments == written.segments
    assert held.keys == written.keys
    assert held.revision == revision
    assert await store.configs.environments() == {ENVIRONMENT: revision}


async def test_environments_are_apart(store: Store) -> None:
    """Writing one environment leaves another as it was."""
    first = await store.configs.replace(config(flag()))
    await store.configs.replace(config(flag("theirs"), environment=OTHER))
    await store.configs.apply(OTHER, DropItem(Domain.FLAG, "theirs"))
    held = await store.configs.environment(ENVIRONMENT)
    assert held is not None
    assert held.revision == first
    assert list(held.flags) == ["checkout"]


async def test_an_equal_write_changes_nothing(store: Store) -> None:
    """A revision moves only with what readers see."""
    first = await store.configs.replace(config(flag(), segment()))
    assert await store.configs.replace(config(flag(), segment())) == first
    assert await store.configs.apply(ENVIRONMENT, PutItem(flag())) == first
    assert await store.configs.apply(ENVIRONMENT, DropItem(Domain.FLAG, "unknown")) == first
    assert await store.configs.apply(ENVIRONMENT, SetKeys(config().keys)) == first


async def test_every_edit_moves_the_revision(store: Store) -> None:
    """Edits are seen, each under a revision of its own."""
    revisions = [await store.configs.replace(config(flag()))]
    for edit in (
        PutItem(flag(on=False, version=2)),
        PutItem(segment()),
        DropItem(Domain.FLAG, "checkout"),
        SetKeys(frozenset({hash_key("new")})),
    ):
        revision = await store.configs.apply(ENVIRONMENT, edit)
        assert revision is not None
        revisions.append(revision)
    assert len(set(revisions)) == len(revisions)
    held = await store.configs.environment(ENVIRONMENT)
    assert held is not None
    assert dict(held.flags) == {}
    assert list(held.segments) == ["beta"]
    assert held.keys == {hash_key("new")}
    assert held.revision == revisions[-1]


async def test_an_edit_needs_its_environment(store: Store) -> None:
    """An edit of an environment that is not held is answered with nothing, and does nothing."""
    assert await store.configs.apply(ENVIRONMENT, PutItem(flag())) is None
    assert await store.configs.environments() == {}


async def test_versions_never_fall(store: Store) -> None:
    """Changed content under an old or equal version is stored above it, by replace and by apply."""
    await store.configs.replace(config(flag(version=7)))
    await store.configs.replace(config(flag(on=False, version=3)))
    held = await store.configs.environment(ENVIRONMENT)
    assert held is not None
    assert held.flags["checkout"].version == 8
    assert msgspec.json.decode(held.flags["checkout"].wire)["version"] == 8
    await store.configs.apply(ENVIRONMENT, PutItem(flag(on=True, version=8)))
    held = await store.configs.environment(ENVIRONMENT)
    assert held is not None
    assert held.flags["checkout"].version == 9


async def test_a_recreated_item_starts_above_the_last(store: Store) -> None:
    """A vanished item's version is remembered."""
    await store.configs.replace(config(flag(version=5)))
    await store.configs.apply(ENVIRONMENT, DropItem(Domain.FLAG, "checkout"))
    await store.configs.apply(ENVIRONMENT, PutItem(flag(version=1)))
    held = await store.configs.environment(ENVIRONMENT)
    assert held is not None
    assert held.flags["checkout"].version == 6
    await store.configs.replace(config())
    await store.configs.replace(config(flag(version=2)))
    held = await store.configs.environment(ENVIRONMENT)
    assert held is not None
    assert held.flags["checkout"].version == 7


async def test_a_removed_environment_is_gone(store: Store) -> None:
    """Removal is final and may be repeated."""
    await store.configs.replace(config(flag()))
    await store.configs.set_status(ENVIRONMENT, UpstreamStatus(StreamState.CONNECTED, 5))
    await store.configs.remove(ENVIRONMENT)
    await store.configs.remove(ENVIRONMENT)
    assert await store.configs.environment(ENVIRONMENT) is None
    assert await store.configs.environments() == {}
    assert await store.configs.statuses() == {}


async def test_a_removed_environment_may_come_back(store: Store) -> None:
    """As a new one: nothing of the old is in it, and its revision is not one that was seen."""
    first = await store.configs.replace(config(flag(version=5), flag("old")))
    await store.configs.remove(ENVIRONMENT)
    second = await store.configs.replace(config(flag(version=1)))
    assert second != first
    held = await store.configs.environment(ENVIRONMENT)
    assert held is not None
    assert held.flags == {"checkout": flag(version=1)}
    assert held.retired == {}
    assert await store.configs.environments() == {ENVIRONMENT: second}


async def test_a_watcher_hears_of_every_moved_environment(store: Store) -> None:
    """A notice comes for each environment that moved, the newest revision among them, and for a removal."""
    async with store.configs.watch() as notices:
        await store.configs.replace(config(flag()))
        last = await store.configs.apply(ENVIRONMENT, PutItem(flag(on=False, version=2)))
        assert await _heard(notices, Notice(ENVIRONMENT, last))
        other = await store.configs.replace(config(environment=OTHER))
        assert await _heard(notices, Notice(OTHER, other))
        await store.configs.remove(OTHER)
        assert await _heard(notices, Notice(OTHER, None))


async def test_statuses_are_kept_by_environment(store: Store) -> None:
    """The last status of each environment is read back."""
    connected = UpstreamStatus(StreamState.CONNECTED, 1_700_000_000_000)
    lost = UpstreamStatus(StreamState.DISCONNECTED, 1_700_000_000_001, refused=True, detail="403")
    await store.configs.set_status(ENVIRONMENT, connected)
    await store.configs.set_status(OTHER, connected)
    await store.configs.set_status(OTHER, lost)
    assert await store.configs.statuses() == {ENVIRONMENT: connected, OTHER: lost}


async def test_recent_changes_are_those_of_the_window(store: Store) -> None:
    """If a store remembers changes, they are the newest per item, in order, and inside the window."""
    await store.configs.replace(config(flag(), flag("gone")))
    await store.configs.apply(ENVIRONMENT, PutItem(flag(on=False, version=2)))
    await store.configs.apply(ENVIRONMENT, DropItem(Domain.FLAG, "gone"))
    recent = await store.configs.recent(ENVIRONMENT, 0.0)
    if recent:
        last = {entry.change.identifier: entry.change.action for entry in recent}
        assert last["gone"] is Action.DELETE
        assert last["checkout"] in {Action.CREATE, Action.PATCH}
        assert len(last) == len(recent)
        assert [entry.at for entry in recent] == sorted(entry.at for entry in recent)
    assert list(await store.configs.recent(ENVIRONMENT, 9e12)) == []


async def _heard(notices: object, wanted: Notice) -> bool:
    async with asyncio.timeout(5):
        async for notice in notices:  # type: ignore[attr-defined]  # an async iterator of notices
            if notice == wanted:
                return True
    return False
