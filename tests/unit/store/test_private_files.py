"""Who may read what we write."""

import errno
import io
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.errors import StartupError
from ff_proxy.model.keys import Secret
from ff_proxy.store.private_files import (
    make_all_private,
    make_private,
    make_private_directory,
    make_private_file,
    private_umask,
)
from ff_proxy.store.sqlite import SqliteStore
from ff_proxy.telemetry import OnceLog, Telemetry
from ff_proxy.telemetry.logs import make_logger
from tests.support.clock import FakeClock
from tests.support.configs import config, flag


class Watched:
    """A log that can be read, and the telemetry in front of it."""

    def __init__(self) -> None:
        self._out = io.StringIO()
        self.telemetry = Telemetry(make_logger("WARNING", self._out), FakeClock())
        self.once: OnceLog = self.telemetry.once("store")

    @property
    def lines(self) -> list[str]:
        """What has been said."""
        return self._out.getvalue().splitlines()


def mode(path: Path) -> int:
    """The permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def store(directory: Path, watched: Watched) -> SqliteStore:
    """The store that keeps the secret."""
    return SqliteStore(directory, "one", FakeClock(), watched.telemetry)


async def test_every_file_of_the_store_is_ours_alone(tmp_path: Path) -> None:
    """The file, what SQLite puts beside it, the lock and the directory, whatever the umask."""
    directory, watched = tmp_path / "deep" / "data", Watched()
    before = os.umask(0)
    try:
        async with store(directory, watched) as opened:
            await opened.secrets.auth_secret(Secret("s"))
            await opened.configs.replace(config(flag("a")))
            found = {path.name: mode(path) for path in directory.iterdir()}
    finally:
        os.umask(before)
    assert set(found) >= {"ff-proxy.sqlite", "ff-proxy.sqlite-wal", "ff-proxy.sqlite-shm", "ff-proxy.lock"}
    assert set(found.values()) == {0o600}
    assert mode(directory) == 0o700
    assert watched.lines == []


async def test_wider_modes_are_corrected_with_a_warning_that_names_the_file(tmp_path: Path) -> None:
    """An older version made them so; a killed one left files beside the database."""
    directory = tmp_path / "data"
    async with store(directory, Watched()):
        pass
    beside = directory / "ff-proxy.sqlite-journal"
    beside.touch()
    paths = [directory / "ff-proxy.sqlite", beside, directory / "ff-proxy.lock"]
    for path in paths:
        path.chmod(0o644)
    directory.chmod(0o755)
    watched = Watched()
    async with store(directory, watched):
        assert [mode(path) for path in paths if path.exists()] == [0o600] * len(paths)
    assert mode(directory) == 0o700
    for path in (*paths, directory):
        assert sum(f'"{path}"' in line for line in watched.lines) == 1


@pytest.mark.parametrize("name", ["other.txt", ".profile"])
def test_a_directory_with_others_files_keeps_its_mode(tmp_path: Path, name: str) -> None:
    """A home directory that is named by mistake must not be closed to its other users."""
    (tmp_path / name).touch()
    (tmp_path / "ff-proxy.lock").touch()
    tmp_path.chmod(0o755)
    watched = Watched()
    make_private_directory(tmp_path, watched.once, ours="ff-proxy")
    assert mode(tmp_path) == 0o755
    assert len(watched.lines) == 1


def test_a_directory_in_which_everybody_writes_keeps_its_mode(tmp_path: Path) -> None:
    """Such as /tmp, which root could close."""
    tmp_path.chmod(0o1777)
    watched = Watched()
    make_private_directory(tmp_path, watched.once, ours="ff-proxy")
    assert mode(tmp_path) == 0o1777
    assert len(watched.lines) == 1


@pytest.mark.parametrize("fails", [True, False])
def test_a_volume_that_knows_no_modes_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """It refuses or ignores the change: one line for all of its files, and no error."""
    files = [tmp_path / name for name in ("a", "b", "c")]
    for file in files:
        file.touch(0o644)
        file.chmod(0o644)

    def chmod(_: Path, __: int) -> None:
        if fails:
            raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", chmod)
    watched = Watched()
    make_all_private([*files, tmp_path / "missing"], watched.once)
    (line,) = watched.lines
    assert str(tmp_path) in line
    assert ("Operation not permitted" in line) is fails


@given(bits=st.integers(0, 0o777))
def test_only_what_others_may_do_is_taken_away(tmp_path_factory: pytest.TempPathFactory, bits: int) -> None:
    """The owner's part stays, and a mode that is narrow already is not touched."""
    path, watched = tmp_path_factory.mktemp("modes") / "file", Watched()
    path.touch()
    path.chmod(bits)
    make_private(path, watched.once)
    assert mode(path) == bits & 0o700
    assert bool(watched.lines) is bool(bits & 0o077)


def test_what_is_made_is_closed_from_its_first_moment(tmp_path: Path) -> None:
    """By us, and by libraries that ask for no mode."""
    before = os.umask(0o022)
    try:
        with private_umask():
            (tmp_path / "library").write_text("x")
            (tmp_path / "directory").mkdir()
        (tmp_path / "later").write_text("x")
    finally:
        os.umask(before)
    make_private_file(tmp_path / "ours", Watched().once)
    assert mode(tmp_path / "library") == mode(tmp_path / "ours") == 0o600
    assert mode(tmp_path / "directory") == 0o700
    assert mode(tmp_path / "later") == 0o644


@pytest.mark.parametrize("name", ["ff-proxy.sqlite", "ff-proxy.lock"])
async def test_a_file_that_we_may_not_write_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """With the user id, since that is what has to be changed."""
    opened = os.open

    def refuse(path: Path, flags: int, mode: int = 0o777) -> int:
        if Path(path).name == name:
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StartupError, match=f"user id {os.getuid()}: Permission denied"):
        async with store(tmp_path, Watched()):
            pass


async def test_a_file_in_place_of_the_directory_stops_the_start(tmp_path: Path) -> None:
    """In words."""
    (tmp_path / "data").touch()
    with pytest.raises(StartupError, match="data-dir"):
        async with store(tmp_path / "data", Watched()):
            pass


def test_a_new_volume_that_only_its_group_could_open_is_closed_without_a_word(tmp_path: Path) -> None:
    """It is how the image's directories come, and nothing was in it that could have been read."""
    watched = Watched()
    volume = tmp_path / "data"
    volume.mkdir()
    volume.chmod(0o770)
    make_private_directory(volume, watched.once, ours="ff-proxy")
    assert mode(volume) == 0o700
    assert watched.lines == []
