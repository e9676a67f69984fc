"""Keeping the store equal to a directory."""

import asyncio
import errno
import io
import json
import os
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ff_proxy.errors import OfflineDataError, StoreUnavailable
from ff_proxy.model.environment import EnvironmentConfig, Revision
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.offline.watcher import OfflineWatcher, system_notices
from ff_proxy.store.memory import MemoryConfigs, MemoryTargets
from ff_proxy.telemetry import Telemetry
from ff_proxy.telemetry.logs import make_logger
from tests.support.clock import FakeClock
from tests.support.offline import ENV, ENV_ID, OTHER, OTHER_ID, FaultyFiles, bakery, flag_doc, write_files

GRACE = 30.0


class Configs(MemoryConfigs):
    """A store that can be out of reach."""

    fails = False

    async def replace(self, config: EnvironmentConfig) -> Revision:
        if self.fails:
            raise StoreUnavailable("no answer")
        return await super().replace(config)


async def no_notices(_: Path) -> AsyncIterator[object]:
    """A system that never says anything."""
    await asyncio.Event().wait()
    yield None


class Bench:
    """A watcher of a directory, and what it writes to."""

    def __init__(self, root: Path, notices: Callable[[Path], AsyncIterator[object]] = no_notices) -> None:
        self.root = root
        self.clock = FakeClock()
        self.files = FaultyFiles()
        self.lines = io.StringIO()
        self.telemetry = Telemetry(make_logger("INFO", self.lines), self.clock)
        self.configs = Configs("epoch", self.clock)
        self.targets = MemoryTargets()
        self.watcher = OfflineWatcher(
            root,
            self.configs,
            self.targets,
            self.clock,
            self.telemetry,
            grace=GRACE,
            notices=notices,
            files=self.files,
        )

    async def version(self, environment: EnvironmentId = ENV_ID) -> int | None:
        """The version of a flag as the store has it, or ``None`` if the environment is not there."""
        config = await self.configs.environment(environment)
        return None if config is None else config.flags["glaze"].version

    def logged(self, level: str) -> list[str]:
        """What was logged at that level, about what, and forgotten here."""
        lines = [json.loads(line) for line in self.lines.getvalue().splitlines()]
        self.lines.truncate(0)
        self.lines.seek(0)
        return [
            f"{line['event']}: {line.get('problem') or line.get('subject') or line.get('error', '')}"
            for line in lines
            if line["level"] == level
        ]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Callable[[Callable[[], bool]], Awaitable[None]]]:
        """Run the watcher; hands out a way to wait for what its threads bring about."""
        task = asyncio.create_task(self.watcher.run())

        async def when(condition: Callable[[], bool]) -> None:
            while not condition():
                if task.done():
                    task.result()
                await asyncio.sleep(0.005)

        await when(self.watcher.ready.is_set)
        try:
            yield when
        finally:
            task.cancel()
            await asyncio.wait([task])
        assert task.cancelled()


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    """One environment, loaded."""
    bakery(tmp_path, version=1)
    bench = Bench(tmp_path)
    await bench.watcher.load()
    return bench


async def test_the_first_look_fills_the_store(tmp_path: Path) -> None:
    """Every environment with its keys, and their targets."""
    bakery(tmp_path, ENV)
    bakery(tmp_path, OTHER)
    bench = Bench(tmp_path)
    assert not bench.watcher.ready.is_set()
    await bench.watcher.load()
    assert bench.watcher.ready.is_set()
    assert set(await bench.configs.environments()) == {ENV_ID, OTHER_ID}
    ada = await bench.targets.get(OTHER_ID, "ada")
    assert ada is not None
    assert ada.attributes["shift"] == "night"
    assert bench.logged("warning") == []


async def test_a_broken_file_keeps_the_proxy_from_starting(tmp_path: Path) -> None:
    """Every broken file is logged, the first one raised, and nothing is in the store."""
    (bakery(tmp_path, ENV) / "segments.json").write_text("[\n{")
    (bakery(tmp_path, OTHER) / "targets.json").write_text("{}")
    bench = Bench(tmp_path)
    with pytest.raises(OfflineDataError) as broken:
        await bench.watcher.load()
    assert str(broken.value).startswith(
        f"{tmp_path}/env-{ENV}/segments.json: line 2 column 2: it is not JSON"
    )
    assert str(broken.value).endswith("(and 1 more problems like this)")
    assert len(bench.logged("error")) == 2
    assert await bench.configs.environments() == {}


async def test_a_directory_that_is_not_there_keeps_the_proxy_from_starting(tmp_path: Path) -> None:
    """The error names it."""
    with pytest.raises(OfflineDataError, match="absent: the directory cannot be read: No such file"):
        await Bench(tmp_path / "absent").watcher.run()


async def test_an_empty_directory_is_waited_for(tmp_path: Path) -> None:
    """With a warning: what is put there later is served."""
    bench = Bench(tmp_path)
    await bench.watcher.load()
    assert len(bench.logged("warning")) == 1
    bakery(tmp_path)
    await bench.watcher.scan()
    assert await bench.version() == 3


async def test_a_bad_flag_does_not_take_its_environment_down(tmp_path: Path) -> None:
    """It is left out, logged and counted."""
    write_files(tmp_path / f"env-{ENV}", feature_config=[flag_doc("glaze"), {}, 7])
    bench = Bench(tmp_path)
    await bench.watcher.load()
    assert await bench.version() == 3
    assert len(bench.logged("warning")) == 2
    assert bench.telemetry.metrics.items_rejected.labels(ENV)._value.get() == 2


async def test_thousands_of_bad_flags_are_not_thousands_of_lines(tmp_path: Path) -> None:
    """The first twenty say it."""
    write_files(tmp_path / f"env-{ENV}", feature_config=[{}] * 500)
    bench = Bench(tmp_path)
    await bench.watcher.load()
    assert len(bench.logged("warning")) == 21


async def test_a_change_comes_into_force(bench: Bench) -> None:
    """And what did not change is left alone."""
    bakery(bench.root, OTHER, version=5)
    before = await bench.configs.environments()
    bakery(bench.root, ENV, version=2)
    await bench.watcher.scan()
    assert (await bench.version(), await bench.version(OTHER_ID)) == (2, 5)
    after = await bench.configs.environments()
    await bench.watcher.scan()
    assert await bench.configs.environments() == after != before


async def test_a_broken_file_leaves_the_last_good_state_and_recovers(bench: Bench) -> None:
    """Told when it begins and when it ends, with its place; nothing has to be done when it is mended."""
    flags = bench.root / f"env-{ENV}" / "feature_config.json"
    good = flags.read_text()
    flags.write_text("[\n oops")
    for _ in range(3):
        await bench.watcher.scan()
    (line,) = bench.logged("error")
    assert f"{flags}: line 2 column 2: it is not JSON" in line
    assert await bench.version() == 1

    assert list(bench.watcher.degraded) == [line.split(": ", 1)[1]]

    flags.write_text("[\n{}\n oops again")
    await bench.watcher.scan()
    assert "line 3 column 2" in bench.logged("error")[0]

    flags.write_text(good.replace('"version": 1', '"version": 9'))
    bench.logged("info")
    await bench.watcher.scan()
    assert await bench.version() == 9
    assert bench.watcher.degraded == ()
    assert "offline data is in order again: " in bench.logged("info")


async def test_one_broken_environment_does_not_hold_up_another(bench: Bench) -> None:
    """Each stands for itself."""
    (bench.root / f"env-{ENV}" / "targets.json").write_text("{")
    bakery(bench.root, OTHER, version=4)
    await bench.watcher.scan()
    assert (await bench.version(), await bench.version(OTHER_ID)) == (1, 4)


async def test_a_directory_that_is_gone_is_withdrawn_after_the_grace(bench: Bench) -> None:
    """Not at once: somebody may be putting a new one in its place."""
    bakery(bench.root, OTHER)
    await bench.watcher.scan()
    shutil.rmtree(bench.root / f"env-{ENV}")
    await bench.watcher.scan()
    await bench.clock.advance(GRACE - 0.1)
    await bench.watcher.scan()
    assert await bench.version() == 1
    (reason,) = bench.watcher.degraded
    assert ENV in reason
    assert "missing" in reason
    await bench.clock.advance(0.2)
    await bench.watcher.scan()
    assert await bench.version() is None
    assert await bench.version(OTHER_ID) == 3
    assert bench.watcher.degraded == ()

    bakery(bench.root, ENV, version=7)
    await bench.watcher.scan()
    assert await bench.version() == 7


async def test_a_directory_that_comes_back_was_never_away(bench: Bench) -> None:
    """Moving it away and back for a moment ends nothing, and the next time counts anew."""
    bakery(bench.root, OTHER)
    place, aside = bench.root / f"env-{ENV}", bench.root / "aside"
    await bench.watcher.scan()
    for _ in range(3):
        place.rename(aside)
        await bench.watcher.scan()
        await bench.clock.advance(GRACE - 1)
        aside.rename(place)
        await bench.watcher.scan()
        await bench.clock.advance(GRACE - 1)
    assert await bench.version() == 1


@pytest.mark.parametrize("part", ["auth_config", "feature_config", "segments", "targets"])
async def test_a_file_that_is_gone_counts_after_the_grace(bench: Bench, part: str) -> None:
    """The others come into force at once."""
    before = await bench.configs.environment(ENV_ID)
    assert before is not None
    directory = bakery(bench.root, version=2)
    (directory / f"{part}.json").unlink()
    await bench.watcher.scan()
    await bench.clock.advance(GRACE - 1)
    await bench.watcher.scan()
    after = await bench.configs.environment(ENV_ID)
    assert after is not None
    assert (after.keys, after.segments.keys(), after.info) == (
        before.keys,
        before.segments.keys(),
        before.info,
    )
    assert await bench.version() == (1 if part == "feature_config" else 2)
    assert part in bench.watcher.degraded[0]

    await bench.clock.advance(2)
    await bench.watcher.scan()
    after = await bench.configs.environment(ENV_ID)
    assert after is not None
    assert (not after.keys, not after.flags, not after.segments) == (
        part == "auth_config",
        part == "feature_config",
        part == "segments",
    )
    assert bench.watcher.degraded == ()


async def test_a_shadowed_file_does_not_take_over_at_once(bench: Bench) -> None:
    """It was there and meant nothing; a new one of another format is a replacement."""
    directory = bench.root / f"env-{ENV}"
    old = json.dumps([flag_doc("glaze", version=7)])
    (directory / "feature_config.yaml").write_text(old)
    await bench.watcher.scan()
    (directory / "feature_config.json").unlink()
    await bench.watcher.scan()
    await bench.clock.advance(2)
    await bench.watcher.scan()
    assert await bench.version() == 1
    (directory / "feature_config.yaml").write_text(old.replace("7", "8"))
    await bench.watcher.scan()
    await bench.clock.advance(2)
    await bench.watcher.scan()
    assert await bench.version() == 8


async def test_a_volume_that_was_taken_away_changes_nothing(bench: Bench) -> None:
    """Neither an empty directory nor none at all is a wish to serve nothing."""
    shutil.rmtree(bench.root / f"env-{ENV}")
    for _ in range(3):
        await bench.watcher.scan()
        await bench.clock.advance(GRACE + 1)
    assert await bench.version() == 1
    assert "no environment is left" in bench.watcher.degraded[0]
    bench.root.rmdir()
    await bench.watcher.scan()
    assert await bench.version() == 1
    assert "No such file or directory" in bench.watcher.degraded[0]
    assert len(bench.logged("error")) == 2

    bakery(bench.root, version=2)
    await bench.watcher.scan()
    assert await bench.version() == 2
    assert bench.watcher.degraded == ()


async def test_another_device_in_the_place_of_a_volume_withdraws_nothing(bench: Bench) -> None:
    """What an unmounted volume leaves behind is the mount point, with whatever else is there."""
    bakery(bench.root / "volume", OTHER)
    bakery(bench.root, ENV, version=2)
    bench.files.move_to_device(bench.root / "volume", 99)
    await bench.watcher.scan()
    shutil.rmtree(bench.root / "volume" / f"env-{OTHER}")
    bench.files.mend()
    for _ in range(3):
        await bench.watcher.scan()
        await bench.clock.advance(GRACE + 1)
    assert (await bench.version(), await bench.version(OTHER_ID)) == (2, 3)
    assert "not mounted" in bench.watcher.degraded[0]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.ELOOP, errno.ENOTDIR])
@pytest.mark.parametrize("where", [".", "env", "auth_config.json"])
async def test_what_cannot_be_read_stays_in_force(bench: Bench, where: str, number: int) -> None:
    """For as long as it lasts; the same bytes come back into force by themselves."""
    bakery(bench.root, OTHER)
    await bench.watcher.scan()
    directory = bench.root / f"env-{ENV}"
    bench.files.fail({".": bench.root, "env": directory}.get(where, directory / where), number)
    for _ in range(3):
        await bench.watcher.scan()
        await bench.clock.advance(GRACE + 1)
    config = await bench.configs.environment(ENV_ID)
    assert config is not None
    assert config.keys
    assert os.strerror(number) in bench.watcher.degraded[0]
    assert len(bench.logged("error")) == 1
    bench.files.mend()
    await bench.watcher.scan()
    assert bench.watcher.degraded == ()


async def test_an_error_of_the_system_that_passes_is_read_again(bench: Bench) -> None:
    """Though the file looks the same as before."""
    flags = bakery(bench.root, version=2) / "feature_config.json"
    bench.files.refuse_reading(flags, errno.EIO)
    await bench.watcher.scan()
    assert await bench.version() == 1
    bench.files.mend()
    await bench.watcher.scan()
    assert await bench.version() == 2


async def test_a_file_in_the_place_of_a_directory_withdraws_nothing(bench: Bench) -> None:
    """Nor does a link to nothing or to itself."""
    bakery(bench.root, OTHER)
    await bench.watcher.scan()
    place = bench.root / f"env-{ENV}"
    place.rename(bench.root / "aside")
    for target in (None, "nowhere", place):
        if target is None:
            place.touch()
        else:
            place.symlink_to(target)
        for _ in range(2):
            await bench.watcher.scan()
            await bench.clock.advance(GRACE + 1)
        assert await bench.version() == 1
        assert bench.watcher.degraded
        place.unlink()


async def test_an_entry_that_cannot_be_read_any_more_stays_as_it_was(bench: Bench) -> None:
    """It was not removed; what is removed goes at once."""
    flags = bench.root / f"env-{ENV}" / "feature_config.json"
    flags.write_text(json.dumps([flag_doc("glaze", variations=[{}])]))
    await bench.watcher.scan()
    config = await bench.configs.environment(ENV_ID)
    assert config is not None
    assert set(config.flags) == {"glaze"}
    assert "glaze" in bench.watcher.degraded[0]
    flags.write_text(json.dumps([flag_doc("yeast")]))
    await bench.watcher.scan()
    config = await bench.configs.environment(ENV_ID)
    assert config is not None
    assert set(config.flags) == {"yeast"}
    assert bench.watcher.degraded == ()


async def test_yaml_must_have_settled(bench: Bench) -> None:
    """Half of it may be well-formed."""
    directory = bench.root / f"env-{ENV}"
    (directory / "feature_config.json").unlink()
    whole = "- " + json.dumps(flag_doc("glaze", version=2)) + "\n- " + json.dumps(flag_doc("yeast")) + "\n"
    (directory / "feature_config.yaml").write_text(whole[: whole.index("\n") + 1])
    await bench.watcher.scan()
    await bench.clock.advance(0.9)
    (directory / "feature_config.yaml").write_text(whole)
    await bench.watcher.scan()
    await bench.clock.advance(0.9)
    await bench.watcher.scan()
    assert await bench.version() == 1
    await bench.clock.advance(0.2)
    await bench.watcher.scan()
    config = await bench.configs.environment(ENV_ID)
    assert config is not None
    assert set(config.flags) == {"glaze", "yeast"}
    assert await bench.version() == 2


async def test_a_file_system_that_hangs_is_told(bench: Bench) -> None:
    """Nothing waits for it but the look."""
    answer = threading.Event()
    bench.files.hang(answer)
    looking = asyncio.create_task(bench.watcher.scan())
    try:
        await bench.clock.settle()
        await bench.clock.advance(31)
        assert "has not answered" in bench.watcher.degraded[0]
    finally:
        answer.set()
    await looking
    assert bench.watcher.degraded == ()


async def test_a_config_map_is_swapped_as_a_whole(tmp_path: Path) -> None:
    """Kubernetes turns one hidden link around; files and directories on top stay the links they are."""
    bakery(tmp_path / "..first", version=1)
    bakery(tmp_path / "..second", version=2)
    (tmp_path / "..data").symlink_to("..first")
    (tmp_path / f"env-{ENV}").mkdir()
    for name in ("auth_config", "feature_config", "segments", "targets"):
        (tmp_path / f"env-{ENV}" / f"{name}.json").symlink_to(f"../..data/env-{ENV}/{name}.json")
    bench = Bench(tmp_path)
    await bench.watcher.load()
    assert await bench.version() == 1
    (tmp_path / "..new").symlink_to("..second")
    (tmp_path / "..new").rename(tmp_path / "..data")
    await bench.watcher.scan()
    assert await bench.version() == 2
    assert bench.logged("warning") == []


async def test_two_directories_for_one_environment_leave_it_as_it_is(bench: Bench) -> None:
    """Told once; when one of them is gone, the other is served."""
    bakery(bench.root / "copy", ENV, version=8)
    for _ in range(3):
        await bench.watcher.scan()
        await bench.clock.advance(10)
    assert await bench.version() == 1
    assert len(bench.logged("error")) == 1
    shutil.rmtree(bench.root / f"env-{ENV}")
    await bench.watcher.scan()
    assert await bench.version() == 8


async def test_targets_that_did_not_change_are_left_to_the_sdks(bench: Bench) -> None:
    """What an SDK said of a target stays until the file says something new of it."""
    said = Target("ada", "Ada", {"shift": "day"})
    await bench.targets.put(ENV_ID, said)
    bakery(bench.root, version=2)
    await bench.watcher.scan()
    assert await bench.targets.get(ENV_ID, "ada") == said

    write_files(bench.root / f"env-{ENV}", targets=[{"identifier": "ada", "attributes": {"shift": "none"}}])
    await bench.watcher.scan()
    assert await bench.targets.get(ENV_ID, "ada") == Target("ada", "", {"shift": "none"})


async def test_a_successor_goes_on_where_its_predecessor_ended(bench: Bench) -> None:
    """What was in force stays so, broken files or not; targets are those that SDKs have described."""
    bakery(bench.root, OTHER, version=1)
    await bench.watcher.scan()
    said = Target("ada", "Ada", {"shift": "day"})
    await bench.targets.put(ENV_ID, said)
    shutil.rmtree(bench.root / f"env-{OTHER}")
    file = bench.root / f"env-{ENV}" / "feature_config.json"
    good = file.read_text()
    file.write_text("[{]")
    bench.watcher = OfflineWatcher(
        bench.root, bench.configs, bench.targets, bench.clock, bench.telemetry, notices=no_notices
    )
    names = await bench.configs.environments()
    bench.watcher.resume([one for name in names if (one := await bench.configs.environment(name))])
    assert bench.watcher.ready.is_set()
    await bench.watcher.scan()
    assert (await bench.version(), await bench.version(OTHER_ID)) == (1, 1)
    file.write_text(good.replace('"version": 1', '"version": 2'))
    targets = bench.root / f"env-{ENV}" / "targets.json"
    targets.write_text(json.dumps([*json.loads(targets.read_text()), {"identifier": "new", "name": "New"}]))
    await bench.clock.advance(GRACE)
    await bench.watcher.scan()
    assert (await bench.version(), await bench.version(OTHER_ID)) == (2, None)
    assert await bench.targets.get(ENV_ID, "ada") == said
    assert await bench.targets.get(ENV_ID, "new") == Target("new", "New")
    # From then on the directory's news count as ever.
    targets.write_text(json.dumps([{"identifier": "ada", "name": "Ada", "attributes": {"shift": "none"}}]))
    await bench.watcher.scan()
    assert await bench.targets.get(ENV_ID, "ada") == Target("ada", "Ada", {"shift": "none"})


async def test_what_the_store_did_not_take_is_tried_again(bench: Bench) -> None:
    """Though nothing changed in the directory since."""
    bakery(bench.root, version=2)
    bench.configs.fails = True
    await bench.watcher.scan()
    await bench.watcher.scan()
    assert await bench.version() == 1
    assert len(bench.logged("warning")) == 1
    bench.configs.fails = False
    await bench.watcher.scan()
    assert await bench.version() == 2


async def test_a_notice_or_the_timer_makes_it_look(tmp_path: Path) -> None:
    """The timer alone is enough, so a system that gives no notice costs one interval."""
    notice = asyncio.Event()

    async def notices(_: Path) -> AsyncIterator[object]:
        while True:
            await notice.wait()
            notice.clear()
            yield "something"

    bakery(tmp_path, version=1)
    bench = Bench(tmp_path, notices)
    held = bench.configs._environments
    async with bench.running() as when:
        bakery(tmp_path, version=2)
        notice.set()
        await when(lambda: held[ENV_ID].flags["glaze"].version == 2)

        bakery(tmp_path, version=3)
        await bench.clock.advance(10)
        await when(lambda: held[ENV_ID].flags["glaze"].version == 3)

        bakery(tmp_path, OTHER)
        shutil.rmtree(tmp_path / f"env-{ENV}")
        notice.set()
        await when(lambda: bool(bench.watcher.degraded))
        await bench.clock.advance(GRACE + 0.1)
        await when(lambda: ENV_ID not in held)


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
    bench = Bench(current, notices)
    async with bench.running() as when:
        await when(lambda: asked == 1)
        (tmp_path / "new").symlink_to("2")
        (tmp_path / "new").rename(current)
        await bench.clock.advance(10)
        await when(lambda: asked == 2)
        assert await bench.version() == 2


async def test_a_system_that_cannot_watch_is_told_once(tmp_path: Path) -> None:
    """And asked again later."""
    asked = 0

    def notices(_: Path) -> AsyncIterator[object]:
        nonlocal asked
        asked += 1
        raise OSError("inotify limit reached")

    bakery(tmp_path)
    bench = Bench(tmp_path, notices)
    async with bench.running():
        for _ in range(3):
            await bench.clock.advance(10)
        assert asked == 4
        assert len(bench.logged("warning")) == 1


async def test_the_system_gives_notice(tmp_path: Path) -> None:
    """The real thing: a file changes, and the directory is read."""
    bakery(tmp_path, version=1)
    bench = Bench(tmp_path, system_notices)
    held = bench.configs._environments
    asked = 0

    def has_seen_a_change() -> bool:
        nonlocal asked
        # The system may begin to listen only after the first of these.
        asked += 1
        if asked % 100 == 1:
            bakery(tmp_path, version=1 + asked)
        return held[ENV_ID].flags["glaze"].version > 1

    async with bench.running() as when:
        await when(has_seen_a_change)
        assert bench.clock.monotonic() == 0
