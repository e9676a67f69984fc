"""A running sandbox follows the directory that it was filled from."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ff_proxy.model.environment import Action, Change, Domain
from ff_proxy.model.keys import EnvironmentId, hash_key
from ff_proxy.sandbox.directory_follower import DirectoryFollower
from ff_proxy.sandbox.listener import Listener
from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.state import SandboxState
from tests.unit.sandbox.test_directory import FLAG, write

ENV = EnvironmentId("id-1")


async def _never(_: Path) -> AsyncIterator[object]:
    await asyncio.Event().wait()
    yield None


class Place:
    """A directory, the sandbox that was filled from it, and what it told."""

    def __init__(self, root: Path, flag: Mapping[str, Any] = FLAG) -> None:
        self.root = root
        self.told: list[str] = []
        self.changes: list[Change] = []
        write(root, ENV, feature_config=[flag], auth_config=[hash_key("a")], segments=[{"identifier": "s"}])
        self.follower = DirectoryFollower(root, _never, self.told.append)
        self.sandbox = RunningSandbox(SandboxState(self.follower.load()), Listener("127.0.0.1", 0))
        self.sandbox.state.subscribe(lambda _, change: self.changes.append(change))

    async def edit(self, file: str, content: object, environment: str = ENV) -> None:
        """Write one file anew, and let it be taken up."""
        directory = self.root / f"env-{environment}"
        directory.mkdir(exist_ok=True)
        (directory / file).write_text(content if isinstance(content, str) else json.dumps(content))
        await self.follower.update(self.sandbox)

    @property
    def flags(self) -> Mapping[str, Mapping[str, Any]]:
        """What is served."""
        return self.sandbox.state.environments[ENV].flags


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """One environment with a flag, a group and a key."""
    made = Place(tmp_path)
    yield made
    await made.sandbox.close()


async def test_an_edited_flag_is_announced_and_others_stay(place: Place) -> None:
    """Created, changed and removed; the version goes up by itself."""
    await place.edit("feature_config.json", [{**FLAG, "state": "off"}, {**FLAG, "feature": "g"}])
    assert place.flags["f"]["state"] == "off"
    assert place.flags["f"]["version"] == 8
    await place.edit("feature_config.json", [{**FLAG, "state": "off", "version": 90}])
    assert [(one.action, one.identifier) for one in place.changes] == [
        (Action.PATCH, "f"), (Action.CREATE, "g"), (Action.DELETE, "g"),
    ]  # fmt: skip
    await place.edit("segments.json", [{"identifier": "s", "name": "S"}])
    assert place.changes[-1].domain is Domain.SEGMENT


async def test_a_flag_flipped_by_hand_stays_flipped_until_it_is_edited(place: Place) -> None:
    """Another file, or another flag, is no reason to take that back."""
    place.sandbox.state.flip(ENV, "f", state="off")
    await place.edit("targets.json", [{"identifier": "ann"}])
    await place.edit("feature_config.json", [FLAG, {**FLAG, "feature": "g"}])
    assert place.flags["f"]["state"] == "off"
    assert "ann" in place.sandbox.state.environments[ENV].targets
    await place.edit("feature_config.json", [{**FLAG, "offVariation": "true"}])
    assert place.flags["f"]["state"] == "on"


async def test_a_file_that_cannot_be_read_changes_nothing(place: Place) -> None:
    """One line when that begins, and one when it ends."""
    for _ in range(2):
        await place.edit("feature_config.json", "[{")
    assert place.flags["f"]["state"] == "on"
    await place.edit("feature_config.json", [{**FLAG, "state": "off"}])
    assert place.flags["f"]["state"] == "off"
    assert [("nothing changes" in line, "again" in line) for line in place.told] == [
        (True, False),
        (False, True),
    ]


async def test_keys_and_environments_come_and_go(place: Place) -> None:
    """A key that is taken away is revoked."""
    await place.edit("auth_config.json", [hash_key("b")])
    assert place.sandbox.state.authenticate("a") is None
    assert place.sandbox.state.authenticate("b")
    await place.edit("feature_config.json", [FLAG], environment="id-2")
    assert set(place.sandbox.state.environments) == {"id-1", "id-2"}
    (place.root / "env-id-2" / "feature_config.json").unlink()
    await place.follower.update(place.sandbox)
    assert set(place.sandbox.state.environments) == {"id-1"}


async def test_a_notice_is_enough(tmp_path: Path) -> None:
    """And the interval, where there are none."""
    changed = asyncio.Event()

    async def notices(_: Path) -> AsyncIterator[object]:
        await changed.wait()
        yield None

    write(tmp_path, ENV, feature_config=[FLAG])
    follower = DirectoryFollower(tmp_path, notices, lambda _: None, interval=3600.0)
    sandbox = RunningSandbox(SandboxState(follower.load()), Listener("127.0.0.1", 0))
    told = asyncio.Event()
    sandbox.state.subscribe(lambda *_: told.set())
    running = asyncio.create_task(follower.run(sandbox))
    (tmp_path / f"env-{ENV}" / "feature_config.json").write_text(json.dumps([{**FLAG, "state": "off"}]))
    changed.set()
    async with asyncio.timeout(10):
        await told.wait()
    running.cancel()
    await sandbox.close()
