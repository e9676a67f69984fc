"""What is gone or cannot be read stays in force, until it has been gone for the grace."""

import errno
import json
import os
import shutil

import pytest

from tests.support.offline import ENV, ENV_ID, OTHER, OTHER_ID, bakery, flag_doc
from tests.support.offline_watcher import GRACE, Watched


async def test_a_directory_that_is_gone_is_withdrawn_after_the_grace(watched: Watched) -> None:
    """Not at once: somebody may be putting a new one in its place."""
    bakery(watched.root, OTHER)
    await watched.watcher.scan()
    shutil.rmtree(watched.root / f"env-{ENV}")
    await watched.watcher.scan()
    await watched.clock.advance(GRACE - 0.1)
    await watched.watcher.scan()
    assert await watched.version() == 1
    (reason,) = watched.watcher.degraded
    assert ENV in reason
    assert "missing" in reason
    await watched.clock.advance(0.2)
    await watched.watcher.scan()
    assert await watched.version() is None
    assert await watched.version(OTHER_ID) == 3
    assert watched.watcher.degraded == ()

    bakery(watched.root, ENV, version=7)
    await watched.watcher.scan()
    assert await watched.version() == 7


async def test_a_directory_that_comes_back_was_never_away(watched: Watched) -> None:
    """Moving it away and back for a moment ends nothing, and the next time counts anew."""
    bakery(watched.root, OTHER)
    place, aside = watched.root / f"env-{ENV}", watched.root / "aside"
    await watched.watcher.scan()
    for _ in range(3):
        place.rename(aside)
        await watched.watcher.scan()
        await watched.clock.advance(GRACE - 1)
        aside.rename(place)
        await watched.watcher.scan()
        await watched.clock.advance(GRACE - 1)
    assert await watched.version() == 1


@pytest.mark.parametrize("part", ["auth_config", "feature_config", "segments", "targets"])
async def test_a_file_that_is_gone_counts_after_the_grace(watched: Watched, part: str) -> None:
    """The others come into force at once."""
    before = await watched.configs.environment(ENV_ID)
    assert before is not None
    directory = bakery(watched.root, version=2)
    (directory / f"{part}.json").unlink()
    await watched.watcher.scan()
    await watched.clock.advance(GRACE - 1)
    await watched.watcher.scan()
    after = await watched.configs.environment(ENV_ID)
    assert after is not None
    assert (after.keys, after.segments.keys(), after.info) == (
        before.keys,
        before.segments.keys(),
        before.info,
    )
    assert await watched.version() == (1 if part == "feature_config" else 2)
    assert part in watched.watcher.degraded[0]

    await watched.clock.advance(2)
    await watched.watcher.scan()
    after = await watched.configs.environment(ENV_ID)
    assert after is not None
    assert (not after.keys, not after.flags, not after.segments) == (
        part == "auth_config",
        part == "feature_config",
        part == "segments",
    )
    assert watched.watcher.degraded == ()


async def test_a_shadowed_file_does_not_take_over_at_once(watched: Watched) -> None:
    """It was there and meant nothing; a new one of another format is a replacement."""
    directory = watched.root / f"env-{ENV}"
    old = json.dumps([flag_doc("glaze", version=7)])
    (directory / "feature_config.yaml").write_text(old)
    await watched.watcher.scan()
    (directory / "feature_config.json").unlink()
    await watched.watcher.scan()
    await watched.clock.advance(2)
    await watched.watcher.scan()
    assert await watched.version() == 1
    (directory / "feature_config.yaml").write_text(old.replace("7", "8"))
    await watched.watcher.scan()
    await watched.clock.advance(2)
    await watched.watcher.scan()
    assert await watched.version() == 8


async def test_a_volume_that_was_taken_away_changes_nothing(watched: Watched) -> None:
    """Neither an empty directory nor none at all is a wish to serve nothing."""
    shutil.rmtree(watched.root / f"env-{ENV}")
    for _ in range(3):
        await watched.watcher.scan()
        await watched.clock.advance(GRACE + 1)
    assert await watched.version() == 1
    assert "no environment is left" in watched.watcher.degraded[0]
    watched.root.rmdir()
    await watched.watcher.scan()
    assert await watched.version() == 1
    assert "No such file or directory" in watched.watcher.degraded[0]
    assert len(watched.logged("error")) == 2

    bakery(watched.root, version=2)
    await watched.watcher.scan()
    assert await watched.version() == 2
    assert watched.watcher.degraded == ()


async def test_another_device_in_the_place_of_a_volume_withdraws_nothing(watched: Watched) -> None:
    """What an unmounted volume leaves behind is the mount point, with whatever else is there."""
    bakery(watched.root / "volume", OTHER)
    bakery(watched.root, ENV, version=2)
    watched.files.move_to_device(watched.root / "volume", 99)
    await watched.watcher.scan()
    shutil.rmtree(watched.root / "volume" / f"env-{OTHER}")
    watched.files.mend()
    for _ in range(3):
        await watched.watcher.scan()
        await watched.clock.advance(GRACE + 1)
    assert (await watched.version(), await watched.version(OTHER_ID)) == (2, 3)
    assert "not mounted" in watched.watcher.degraded[0]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.ELOOP, errno.ENOTDIR])
@pytest.mark.parametrize("where", [".", "env", "auth_config.json"])
async def test_what_cannot_be_read_stays_in_force(watched: Watched, where: str, number: int) -> None:
    """For as long as it lasts; the same bytes come back into force by themselves."""
    bakery(watched.root, OTHER)
    await watched.watcher.scan()
    directory = watched.root / f"env-{ENV}"
    watched.files.fail({".": watched.root, "env": directory}.get(where, directory / where), number)
    for _ in range(3):
        await watched.watcher.scan()
        await watched.clock.advance(GRACE + 1)
    config = await watched.configs.environment(ENV_ID)
    assert config is not None
    assert config.keys
    assert os.strerror(number) in watched.watcher.degraded[0]
    assert len(watched.logged("error")) == 1
    watched.files.mend()
    await watched.watcher.scan()
    assert watched.watcher.degraded == ()


async def test_an_error_of_the_system_that_passes_is_read_again(watched: Watched) -> None:
    """Though the file looks the same as before."""
    flags = bakery(watched.root, version=2) / "feature_config.json"
    watched.files.refuse_reading(flags, errno.EIO)
    await watched.watcher.scan()
    assert await watched.version() == 1
    watched.files.mend()
    await watched.watcher.scan()
    assert await watched.version() == 2


async def test_a_file_in_the_place_of_a_directory_withdraws_nothing(watched: Watched) -> None:
    """Nor does a link to nothing or to itself."""
    bakery(watched.root, OTHER)
    await watched.watcher.scan()
    place = watched.root / f"env-{ENV}"
    place.rename(watched.root / "aside")
    for target in (None, "nowhere", place):
        if target is None:
            place.touch()
        else:
            place.symlink_to(target)
        for _ in range(2):
            await watched.watcher.scan()
            await watched.clock.advance(GRACE + 1)
        assert await watched.version() == 1
        assert watched.watcher.degraded
        place.unlink()


async def test_an_entry_that_cannot_be_read_any_more_stays_as_it_was(watched: Watched) -> None:
    """It was not removed; what is removed goes at once."""
    flags = watched.root / f"env-{ENV}" / "feature_config.json"
    flags.write_text(json.dumps([flag_doc("glaze", variations=[{}])]))
    await watched.watcher.scan()
    config = await watched.configs.environment(ENV_ID)
    assert config is not None
    assert set(config.flags) == {"glaze"}
    assert "glaze" in watched.watcher.degraded[0]
    flags.write_text(json.dumps([flag_doc("yeast")]))
    await watched.watcher.scan()
    config = await watched.configs.environment(ENV_ID)
    assert config is not None
    assert set(config.flags) == {"yeast"}
    assert watched.watcher.degraded == ()
