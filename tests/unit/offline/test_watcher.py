"""Keeping the store equal to a directory."""

import asyncio
import errno
import json
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from ff_proxy.errors import OfflineDataError
from ff_proxy.model.target import Target
from ff_proxy.offline.watcher import OfflineWatcher, system_notices
from tests.support.offline import ENV, ENV_ID, OTHER, OTHER_ID, bakery, flag_doc, write_files
from tests.support.offline_watcher import GRACE, Watched, no_notices


async def test_the_first_look_fills_the_store(tmp_path: Path) -> None:
    """Every environment with its keys, and their targets."""
    bakery(tmp_path, ENV)
    bakery(tmp_path, OTHER)
    watched = Watched(tmp_path)
    assert not watched.watcher.ready.is_set()
    await watched.watcher.load()
    assert watched.watcher.ready.is_set()
    assert set(await watched.configs.environments()) == {ENV_ID, OTHER_ID}
    ada = await watched.targets.get(OTHER_ID, "ada")
    assert ada is not None
    assert ada.attributes["shift"] == "night"
    assert watched.logged("warning") == []


async def test_a_broken_file_keeps_the_proxy_from_starting(tmp_path: Path) -> None:
    """Every broken file is logged, the first one raised, and nothing is in the store."""
    (bakery(tmp_path, ENV) / "segments.json").write_text("[\n{")
    (bakery(tmp_path, OTHER) / "targets.json").write_text("{}")
    watched = Watched(tmp_path)
    with pytest.raises(OfflineDataError) as broken:
        await watched.watcher.load()
    assert str(broken.value).startswith(
        f"{tmp_path}/env-{ENV}/segments.json: line 2 column 2: it is not JSON"
    )
    assert str(broken.value).endswith("(and 1 more problems like this)")
    assert len(watched.logged("error")) == 2
    assert await watched.configs.environments() == {}


async def test_a_directory_that_is_not_there_keeps_the_proxy_from_starting(tmp_path: Path) -> None:
    """The error names it."""
    with pytest.raises(OfflineDataError, match="absent: the directory cannot be read: No such file"):
        await Watched(tmp_path / "absent").watcher.run()


async def test_an_empty_directory_is_waited_for(tmp_path: Path) -> None:
    """With a warning: what is put there later is served."""
    watched = Watched(tmp_path)
    await watched.watcher.load()
    assert len(watched.logged("warning")) == 1
    bakery(tmp_path)
    await watched.watcher.scan()
    assert await watched.version() == 3


async def test_a_bad_flag_does_not_take_its_environment_down(tmp_path: Path) -> None:
    """It is left out, logged and counted."""
    write_files(tmp_path / f"env-{ENV}", feature_config=[flag_doc("glaze"), {}, 7])
    watched = Watched(tmp_path)
    await watched.watcher.load()
    assert await watched.version() == 3
    assert len(watched.logged("warning")) == 2
    assert watched.telemetry.metrics.items_rejected.labels(ENV)._value.get() == 2


async def test_thousands_of_bad_flags_are_not_thousands_of_lines(tmp_path: Path) -> None:
    """The first twenty say it."""
    write_files(tmp_path / f"env-{ENV}", feature_config=[{}] * 500)
    watched = Watched(tmp_path)
    await watched.watcher.load()
    assert len(watched.logged("warning")) == 21


async def test_a_change_comes_into_force(watched: Watched) -> None:
    """And what did not change is left alone."""
    bakery(watched.root, OTHER, version=5)
    before = await watched.configs.environments()
    bakery(watched.root, ENV, version=2)
    await watched.watcher.scan()
    assert (await watched.version(), await watched.version(OTHER_ID)) == (2, 5)
    after = await watched.configs.environments()
    await watched.watcher.scan()
    assert await watched.configs.environments() == after != before


async def test_a_broken_file_leaves_the_last_good_state_and_recovers(watched: Watched) -> None:
    """Told when it begins and when it ends, with its place; nothing has to be done when it is mended."""
    flags = watched.root / f"env-{ENV}" / "feature_config.json"
    good = flags.read_text()
    flags.write_text("[\n oops")
    for _ in range(3):
        await watched.watcher.scan()
    (line,) = watched.logged("error")
    assert f"{flags}: line 2 column 2: it is not JSON" in line
    assert await watched.version() == 1

    assert list(watched.watcher.degraded) == [line.split(": ", 1)[1]]

    flags.write_text("[\n{}\n oops again")
    await watched.watcher.scan()
    assert "line 3 column 2" in watched.logged("error")[0]

    flags.write_text(good.replace('"version": 1', '"version": 9'))
    watched.logged("info")
    await watched.watcher.scan()
    assert await watched.version() == 9
    assert watched.watcher.degraded == ()
    assert "offline data is in order again: " in watched.logged("info")


async def test_one_broken_environment_does_not_hold_up_another(watched: Watched) -> None:
    """Each stands for itself."""
    (watched.root / f"env-{ENV}" / "targets.json").write_text("{")
    bakery(watched.root, OTHER, version=4)
    await watched.watcher.scan()
    assert (await watched.version(), await watched.version(OTHER_ID)) == (1, 4)


async def test_yaml_must_have_settled(watched: Watched) -> None:
    """Half of it may be well-formed."""
    directory = watched.root / f"env-{ENV}"
    (directory / "feature_config.json").unlink()
    whole = "- " + json.dumps(flag_doc("glaze", version=2)) + "\n- " + json.dumps(flag_doc("yeast")) + "\n"
    (directory / "feature_config.yaml").write_text(whole[: whole.index("\n") + 1])
    await watched.watcher.scan()
    await watched.clock.advance(0.9)
    (directory / "feature_config.yaml").write_text(whole)
    await watched.watcher.scan()
    await watched.clock.advance(0.9)
    await watched.watcher.scan()
    assert await watched.version() == 1
    await watched.clock.advance(0.2)
    await watched.watcher.scan()
    config = await watched.configs.environment(ENV_ID)
    assert config is not None
    assert set(config.flags) == {"glaze", "yeast"}
    assert await watched.version() == 2


def _remove(watched: Watched, directory: Path) -> None:
    shutil.move(directory, watched.root / ".aside")


def _empty(watched: Watched, directory: Path) -> None:
    _remove(watched, directory)
    directory.mkdir()


def _link_to_nothing(watched: Watched, directory: Path) -> None:
    _remove(watched, directory)
    directory.symlink_to("nowhere")


def _refuse(watched: Watched, directory: Path) -> None:
    watched.files.fail(directory, errno.EIO)


def _refuse_everything(watched: Watched, _: Path) -> None:
    watched.files.fail(watched.root, errno.EIO)


def _have_it_twice(watched: Watched, directory: Path) -> None:
    shutil.copytree(directory, watched.root / "again" / directory.name)


@pytest.mark.parametrize(
    "happens", [_remove, _empty, _link_to_nothing, _refuse, _refuse_everything, _have_it_twice]
)
async def test_yaml_that_vanishes_before_it_has_settled_is_looked_for_now_and_then(
    watched: Watched, happens: Callable[[Watched, Path], None]
) -> None:
    """Not all the time; and once it is back it is served."""
    bakery(watched.root, OTHER)
    directory = watched.root / f"env-{ENV}"
    (directory / "feature_config.json").unlink()
    (directory / "feature_config.yaml").write_text("- " + json.dumps(flag_doc("glaze", version=2)))
    await watched.watcher.scan()
    happens(watched, directory)
    async with watched.running() as when:
        await when(lambda: watched.files.scans(watched.root) >= 2)
        await watched.clock.advance(1.5)
        before = watched.files.scans(watched.root)
        for _ in range(50):
            await watched.clock.advance(0.0)  # what sleeps for no time goes on
            await asyncio.to_thread(int)
        # A scan asks a few times; without a pause there are dozens of scans.
        assert watched.files.scans(watched.root) - before <= 20
    watched.files.mend()
    shutil.rmtree(watched.root / "again", ignore_errors=True)
    if (aside := watched.root / ".aside").exists():
        directory.unlink() if directory.is_symlink() else shutil.rmtree(directory, ignore_errors=True)
        aside.rename(directory)
    for _ in range(3):
        await watched.watcher.scan()
        await watched.clock.advance(1.1)
    assert await watched.version() == 2


async def test_a_volume_without_inode_numbers_is_not_looked_at_all_the_time(watched: Watched) -> None:
    """A directory that seems to be another one at each look is watched anew, but not without a pause."""
    watched.files.change_inodes(watched.root)
    async with watched.running() as when:
        await when(lambda: watched.files.scans(watched.root) >= 4)
        before = watched.files.scans(watched.root)
        for _ in range(50):
            await watched.clock.advance(0.0)
            await asyncio.to_thread(int)
        assert watched.files.scans(watched.root) - before <= 20


@pytest.mark.parametrize("suffix", ["json", "yaml"])
async def test_a_volume_without_inode_numbers_is_read_only_where_it_changed(
    watched: Watched, suffix: str
) -> None:
    """An edit counts, and what nobody edited is not read again."""
    watched.files.change_inodes(watched.root)
    await watched.watcher.scan()
    watched.logged("info")
    await watched.watcher.scan()
    assert watched.logged("info") == []
    file = watched.root / f"env-{ENV}" / "feature_config.json"
    edited = file.read_text().replace('"version": 1', '"version": 9')
    file.unlink()
    file.with_suffix(f".{suffix}").write_text(edited)
    for _ in range(3):
        await watched.watcher.scan()
        await watched.clock.advance(1.1)
    assert await watched.version() == 9


async def test_a_file_system_that_hangs_is_told(watched: Watched) -> None:
    """Nothing waits for it but the look."""
    answer = threading.Event()
    watched.files.hang(answer)
    looking = asyncio.create_task(watched.watcher.scan())
    try:
        await watched.clock.settle()
        await watched.clock.advance(31)
        assert "has not answered" in watched.watcher.degraded[0]
    finally:
        answer.set()
    await looking
    assert watched.watcher.degraded == ()


async def test_a_config_map_is_swapped_as_a_whole(tmp_path: Path) -> None:
    """Kubernetes turns one hidden link around; files and directories on top stay the links they are."""
    bakery(tmp_path / "..first", version=1)
    bakery(tmp_path / "..second", version=2)
    (tmp_path / "..data").symlink_to("..first")
    (tmp_path / f"env-{ENV}").mkdir()
    for name in ("auth_config", "feature_config", "segments", "targets"):
        (tmp_path / f"env-{ENV}" / f"{name}.json").symlink_to(f"../..data/env-{ENV}/{name}.json")
    watched = Watched(tmp_path)
    await watched.watcher.load()
    assert await watched.version() == 1
    (tmp_path / "..new").symlink_to("..second")
    (tmp_path / "..new").rename(tmp_path / "..data")
    await watched.watcher.scan()
    assert await watched.version() == 2
    assert watched.logged("warning") == []


async def test_two_directories_for_one_environment_leave_it_as_it_is(watched: Watched) -> None:
    """Told once; when one of them is gone, the other is served."""
    bakery(watched.root / "copy", ENV, version=8)
    for _ in range(3):
        await watched.watcher.scan()
        await watched.clock.advance(10)
    assert await watched.version() == 1
    assert len(watched.logged("error")) == 1
    shutil.rmtree(watched.root / f"env-{ENV}")
    await watched.watcher.scan()
    assert await watched.version() == 8


async def test_targets_that_did_not_change_are_left_to_the_sdks(watched: Watched) -> None:
    """What an SDK said of a target stays until the file says something new of it."""
    said = Target("ada", "Ada", {"shift": "day"})
    await watched.targets.put(ENV_ID, said)
    bakery(watched.root, version=2)
    await watched.watcher.scan()
    assert await watched.targets.get(ENV_ID, "ada") == said

    write_files(watched.root / f"env-{ENV}", targets=[{"identifier": "ada", "attributes": {"shift": "none"}}])
    await watched.watcher.scan()
    assert await watched.targets.get(ENV_ID, "ada") == Target("ada", "", {"shift": "none"})


async def test_a_successor_goes_on_where_its_predecessor_ended(watched: Watched) -> None:
    """What was in force stays so, broken files or not; targets are those that SDKs have described."""
    bakery(watched.root, OTHER, version=1)
    await watched.watcher.scan()
    said = Target("ada", "Ada", {"shift": "day"})
    await watched.targets.put(ENV_ID, said)
    shutil.rmtree(watched.root / f"env-{OTHER}")
    file = watched.root / f"env-{ENV}" / "feature_config.json"
    good = file.read_text()
    file.write_text("[{]")
    watched.watcher = OfflineWatcher(
        watched.root, watched.configs, watched.targets, watched.clock, watched.telemetry, notices=no_notices
    )
    names = await watched.configs.environments()
    watched.watcher.resume([one for name in names if (one := await watched.configs.environment(name))])
    assert watched.watcher.ready.is_set()
    await watched.watcher.scan()
    assert (await watched.version(), await watched.version(OTHER_ID)) == (1, 1)
    file.write_text(good.replace('"version": 1', '"version": 2'))
    targets = watched.root / f"env-{ENV}" / "targets.json"
    targets.write_text(json.dumps([*json.loads(targets.read_text()), {"identifier": "new", "name": "New"}]))
    await watched.clock.advance(GRACE)
    await watched.watcher.scan()
    assert (await watched.version(), await watched.version(OTHER_ID)) == (2, None)
    assert await watched.targets.get(ENV_ID, "ada") == said
    assert await watched.targets.get(ENV_ID, "new") == Target("new", "New")
    # From then on the directory's news count as ever.
    targets.write_text(json.dumps([{"identifier": "ada", "name": "Ada", "attributes": {"shift": "none"}}]))
    await watched.watcher.scan()
    assert await watched.targets.get(ENV_ID, "ada") == Target("ada", "Ada", {"shift": "none"})


async def test_what_the_store_did_not_take_is_tried_again(watched: Watched) -> None:
    """Though nothing changed in the directory since."""
    bakery(watched.root, version=2)
    watched.configs.fails = True
    await watched.watcher.scan()
    await watched.watcher.scan()
    assert await watched.version() == 1
    assert len(watched.logged("warning")) == 1
    watched.configs.fails = False
    await watched.watcher.scan()
    assert await watched.version() == 2


async def test_a_notice_or_the_timer_makes_it_look(tmp_path: Path) -> None:
    """The timer alone is enough, so a system that gives no notice costs one interval."""
    notice = asyncio.Event()

    async def notices(_: Path) -> AsyncIterator[object]:
        while True:
            await notice.wait()
            notice.clear()
            yield "something"

    bakery(tmp_path, version=1)
    watched = Watched(tmp_path, notices)
    held = watched.configs._environments
    async with watched.running() as when:
        bakery(tmp_path, version=2)
        notice.set()
        await when(lambda: held[ENV_ID].flags["glaze"].version == 2)

        bakery(tmp_path, version=3)
        while held[ENV_ID].flags["glaze"].version != 3:
            await watched.clock.advance(1)
            await asyncio.sleep(0.005)  # a thread looks

        bakery(tmp_path, OTHER)
        shutil.rmtree(tmp_path / f"env-{ENV}")
        notice.set()
        await when(lambda: bool(watched.watcher.degraded))
        before = watched.clock.monotonic()
        while ENV_ID in held:
            await watched.clock.advance(1)
            await asyncio.sleep(0.005)
        assert watched.clock.monotonic() - before >= GRACE - 1


async def test_another_directory_at_the_place_is_listened_to(tmp_path: Path) -> None:
    """Notices are given of the directory that was there when listening began."""
    asked = 0

    async def notices(_: Path) -> AsyncIterator[object]:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()
        yield None

    for release in ("1", "2"):
        bakery(tmp_path / release, version=int(release))
    current = tmp_path / "current"
    current.symlink_to("1")
    watched = Watched(current, notices)
    async with watched.running() as when:
        await when(lambda: asked == 1)
        (tmp_path / "new").symlink_to("2")
        (tmp_path / "new").rename(current)
        while asked < 2:
            await watched.clock.advance(1)
            await asyncio.sleep(0.005)  # a thread looks
        assert await watched.version() == 2


async def test_a_system_that_cannot_watch_is_told_once(tmp_path: Path) -> None:
    """And asked again later."""
    asked = 0

    def notices(_: Path) -> AsyncIterator[object]:
        nonlocal asked
        asked += 1
        raise OSError("inotify limit reached")

    bakery(tmp_path)
    watched = Watched(tmp_path, notices)
    async with watched.running():
        for _ in range(3):
            await watched.clock.advance(10)
        assert asked == 4
        # The clock may be ahead of the thread that reads the directory, which is another warning.
        told = [line for line in watched.logged("warning") if "cannot be watched" in line]
        assert len(told) == 1


async def test_the_system_gives_notice(tmp_path: Path) -> None:
    """The real thing: a file changes, and the directory is read."""
    bakery(tmp_path, version=1)
    watched = Watched(tmp_path, system_notices)
    held = watched.configs._environments
    asked = 0

    def has_seen_a_change() -> bool:
        nonlocal asked
        # The system may begin to listen only after the first of these.
        asked += 1
        if asked % 100 == 1:
            bakery(tmp_path, version=1 + asked)
        return held[ENV_ID].flags["glaze"].version > 1

    async with watched.running() as when:
        await when(has_seen_a_change)
        assert watched.clock.monotonic() == 0
