"""Writing a directory: complete or not at all, wherever it is cut off."""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ff_proxy.errors import OfflineDataError, StartupError
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.offline.directory import read_directory
from ff_proxy.offline.durable_files import Disk, writer_lock
from ff_proxy.offline.format import OfflineEnvironment
from ff_proxy.offline.writer import check_writable, write_directory
from tests.support.offline import ENV, OTHER, bakery, write_files

THIRD = "0d6f9d0e-7a43-4f0b-8f5c-9a55c9b0a733"
PARTS = 4


class PowerCutError(Exception):
    """The process ends here, at once: nothing after this touches the disk."""


class FailingDisk(Disk):
    """A disk that fails at one step: with an error of the system, or for good."""

    def __init__(self, fails_at: int, error: int | None = None) -> None:
        self.steps = 0
        self._fails_at = fails_at
        self._error = error

    def _step(self) -> None:
        self.steps += 1
        if self._error is None and self.steps >= self._fails_at:
            raise PowerCutError
        if self._error is not None and self.steps == self._fails_at:
            raise OSError(self._error, os.strerror(self._error))

    def make_directory(self, path: Path) -> None:
        self._step()
        super().make_directory(path)

    def write(self, path: Path, data: bytes) -> None:
        if self.steps + 1 == self._fails_at:
            super().write(path, data[: len(data) // 2])
        self._step()
        super().write(path, data)

    def copy(self, source: Path, destination: Path) -> None:
        self._step()
        super().copy(source, destination)

    def rename(self, source: Path, destination: Path) -> None:
        self._step()
        super().rename(source, destination)

    def sync(self, directory: Path) -> None:
        self._step()
        super().sync(directory)

    def remove(self, path: Path) -> None:
        self._step()
        super().remove(path)


def no_pause(_: float) -> None:
    """Tests do not wait."""


def environments(root: Path) -> dict[EnvironmentId, OfflineEnvironment]:
    """Everything that a load of ``root`` gives."""
    reading = read_directory(root, pause=no_pause)
    assert reading.problems == ()
    made = {}
    for one in reading.readings:
        assert one.problems == ()
        assert one.environment is not None
        made[one.location.environment] = one.environment
    return made


def described(root: Path, version: int) -> list[OfflineEnvironment]:
    """Two environments, as they are at ``version``, made beside ``root``."""
    source = root.parent / f"source-{version}"
    bakery(source, ENV, version=version)
    bakery(source, OTHER, version=version)
    return list(environments(source).values())


def versions(root: Path) -> dict[str, int]:
    """The version of a flag in each environment that a load of ``root`` gives."""
    return {
        name: environment.config.flags["glaze"].version for name, environment in environments(root).items()
    }


def modes(root: Path) -> set[tuple[bool, str]]:
    """Whether it is a directory, and its mode, for everything below ``root``."""
    return {(path.is_dir(), oct(path.stat().st_mode & 0o777)) for path in root.rglob("*")}


def hidden(root: Path) -> list[str]:
    """What a write has left behind."""
    return sorted(path.name for path in root.iterdir() if path.name.startswith("."))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A config directory that holds the environments at version 1, and one that nobody writes any more."""
    root = tmp_path / "config"
    root.mkdir()
    write_directory(root, described(root, 1), 0)
    bakery(root, THIRD, version=1)
    return root


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o277])
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """A process whose files are everybody's, or hardly its own, by default."""
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_umask")
def test_a_new_directory_is_written(tmp_path: Path) -> None:
    """With a README each, for its owner only, and nothing else left behind."""
    root = tmp_path / "not" / "there"
    check_writable(root)
    meant = described(root.parent / "x", 1)
    written = write_directory(root, meant, 0)
    assert list(environments(root).values()) == meant
    assert written.directories == (root / f"env-{ENV}", root / f"env-{OTHER}")
    assert written.untouched == ()
    assert written.made_private == ()
    assert modes(root) == {(True, "0o700"), (False, "0o600")}
    assert hidden(root) == []
    assert ENV in (root / f"env-{ENV}" / "README.md").read_text()


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701, 0o777])
def test_what_other_users_could_read_is_closed_to_them(root: Path, mode: int) -> None:
    """Also while it is made; it is said which directories that were."""
    (root / f"env-{ENV}").chmod(mode)
    (root / f"env-{ENV}" / "targets.json").chmod(0o644)
    written = write_directory(root, described(root, 2), 0)
    assert written.made_private == (root / f"env-{ENV}",)
    for directory in written.directories:
        assert modes(directory) == {(False, "0o600")}
        assert directory.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_may_hide_an_environment_is_not_written_over(root: Path) -> None:
    """It would be there twice afterwards."""
    (root / "env-other").symlink_to("nowhere")
    with pytest.raises(StartupError, match="env-other: it cannot be read: the link is broken"):
        write_directory(root, described(root, 2), 0)
    (root / "env-other").unlink()
    assert set(versions(root).values()) == {1}


def test_environments_are_replaced_where_they_are(root: Path) -> None:
    """At any depth; what is not of the format stays; a YAML file of the old state does not."""
    (root / "deep").mkdir()
    (root / f"env-{ENV}").rename(root / "deep" / f"env-{ENV}")
    old = root / "deep" / f"env-{ENV}"
    (old / "notes.txt").write_text("mine")
    (old / "pictures").mkdir()
    (old / "pictures" / "cake").write_text("also mine")
    (old / "segments.yaml").write_text("[]")

    written = write_directory(root, described(root, 2), 0)

    assert written.directories == (old, root / f"env-{OTHER}")
    assert written.untouched == (THIRD,)
    assert versions(root) == {ENV: 2, OTHER: 2, THIRD: 1}
    assert (old / "notes.txt").read_text() == "mine"
    assert (old / "pictures" / "cake").read_text() == "also mine"
    assert not (old / "segments.yaml").exists()
    assert hidden(root) == []


def steps_of_a_write(tmp_path: Path) -> int:
    """How many steps the disk takes in a write that nothing interrupts."""
    root = tmp_path / "counted"
    root.mkdir()
    write_directory(root, described(root, 1), 0)
    disk = FailingDisk(10**9)
    write_directory(root, described(root, 2), 0, disk)
    return disk.steps


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here cuts the power, so that none has to wait for what would outlive that."""
    monkeypatch.setattr("os.fsync", lambda _: None)


def cut_off_in_the_swap(tmp_path: Path) -> Iterator[Path]:
    """Directories whose writers died after the new state had come into force, one for each step."""
    old, new = described(tmp_path / "any", 1), described(tmp_path / "any", 2)
    for fatal in range(1, steps_of_a_write(tmp_path) + 1):
        root = tmp_path / "swap" / str(fatal) / "config"
        root.mkdir(parents=True)
        write_directory(root, old, 0)
        with pytest.raises(PowerCutError):
            write_directory(root, new, 0, FailingDisk(fatal))
        if (root / ".ff-proxy-journal.json").exists():
            yield root


@pytest.mark.parametrize("part", range(PARTS))
def test_cut_off_anywhere_the_directory_is_old_or_new(tmp_path: Path, part: int) -> None:
    """Whichever step the process dies at, the next load sees one state, and the next write succeeds."""
    total = steps_of_a_write(tmp_path)
    assert total > 30
    seen = []
    first, second, third = (described(tmp_path / "any", version) for version in (1, 2, 3))
    for fatal in range(1 + part, total + 1, PARTS):
        root = tmp_path / str(fatal) / "config"
        root.mkdir(parents=True)
        write_directory(root, first, 0)
        with pytest.raises(PowerCutError):
            write_directory(root, second, 0, FailingDisk(fatal))

        state = versions(root)
        assert state in ({ENV: 1, OTHER: 1}, {ENV: 2, OTHER: 2}), fatal
        seen.append(state[ENV])

        write_directory(root, third, 0)
        assert versions(root) == {ENV: 3, OTHER: 3}
        assert hidden(root) == []
    assert seen == sorted(seen)
    assert set(seen) == {1, 2}


def test_cut_off_again_while_it_is_completed(tmp_path: Path) -> None:
    """Completing is safe to interrupt as well, as often as it happens."""
    root = next(cut_off_in_the_swap(tmp_path))
    cuts = 0
    for fatal in range(1, 100):
        try:
            read_directory(root, disk=FailingDisk(fatal), pause=no_pause)
        except PowerCutError:
            cuts += 1
            continue
        break
    assert cuts > 5
    assert versions(root) == {ENV: 2, OTHER: 2}


def test_an_error_anywhere_leaves_one_state(tmp_path: Path) -> None:
    """A full disk is told, and what was in force before stays, or what is new comes with the next load."""
    old, new = described(tmp_path / "any", 1), described(tmp_path / "any", 2)
    for fails_at in range(1, steps_of_a_write(tmp_path) + 1):
        root = tmp_path / str(fails_at) / "config"
        root.mkdir(parents=True)
        write_directory(root, old, 0)
        with pytest.raises(StartupError, match="No space left"):
            write_directory(root, new, 0, FailingDisk(fails_at, errno.ENOSPC))
        assert versions(root) in ({ENV: 1, OTHER: 1}, {ENV: 2, OTHER: 2}), fails_at


def test_a_directory_that_cannot_be_completed_is_read_as_if_it_were(tmp_path: Path) -> None:
    """A read-only mount of a directory whose writer died in the middle."""
    tried = 0
    for root in cut_off_in_the_swap(tmp_path):
        reading = read_directory(root, disk=FailingDisk(1, errno.EROFS), pause=no_pause)
        flags = [one.environment.config.flags["glaze"].version for one in reading.readings if one.environment]
        assert flags == [2, 2], root
        tried += 1
    assert tried > 5


def test_a_swap_that_fails_otherwise_is_told(tmp_path: Path) -> None:
    """The next load says why it cannot complete it."""
    root = next(cut_off_in_the_swap(tmp_path))
    with pytest.raises(OfflineDataError, match="cannot be completed: Input/output error"):
        read_directory(root, disk=FailingDisk(2, errno.EIO), pause=no_pause)


@pytest.mark.parametrize("journal", ["{", "[7]", '["../elsewhere"]', '["/etc"]'])
def test_a_journal_that_makes_no_sense_is_refused(root: Path, journal: str) -> None:
    """Nothing outside of the directory is ever touched."""
    (root / ".ff-proxy-journal.json").write_text(journal)
    with pytest.raises(OfflineDataError, match="the write journal"):
        read_directory(root, pause=no_pause)
    with pytest.raises(StartupError, match="the write journal"):
        write_directory(root, described(root, 2), 0)


def test_only_one_process_writes(root: Path) -> None:
    """The second one is refused, and a load waits for the first and gives up in the end."""
    with writer_lock(root) as alone:
        assert alone
        with pytest.raises(StartupError, match="another process is writing"):
            write_directory(root, described(root, 2), 0)
        assert versions(root)[ENV] == 1
        (root / ".ff-proxy-journal.json").write_text("[]")
        pauses: list[float] = []
        with pytest.raises(OfflineDataError, match="another process is writing"):
            read_directory(root, pause=pauses.append)
        assert 1 < sum(pauses) < 10

        def finish_writing(_: float) -> None:
            (root / ".ff-proxy-journal.json").unlink()

        assert len(read_directory(root, pause=finish_writing).readings) == 3


def test_what_does_not_read_back_is_never_written(root: Path) -> None:
    """An environment whose items do not survive the format."""
    (meant, other) = described(root, 2)
    flag = meant.config.flags["glaze"]
    broken = OfflineEnvironment(
        config=type(meant.config)(
            info=meant.config.info,
            flags={"glaze": type(flag)(flag.domain, "glaze", 2, flag.wire, "another digest")},
            segments={},
            keys=frozenset(),
        ),
        targets=(),
    )
    with pytest.raises(StartupError, match="differs after being read back"):
        write_directory(root, [other, broken], 0)
    assert versions(root) == {ENV: 1, OTHER: 1, THIRD: 1}
    assert hidden(root) == []


def test_places_that_cannot_be_swapped_are_refused(root: Path, tmp_path: Path) -> None:
    """Links, the root itself, two directories, and ids that are no names: all told before any change."""
    meant = described(root, 2)
    (root / f"env-{ENV}").rename(tmp_path / "elsewhere")
    (root / f"env-{ENV}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StartupError, match="is a link or a mount"):
        write_directory(root, meant, 0)

    with pytest.raises(StartupError, match="is itself the directory of an environment"):
        write_directory(root / f"env-{OTHER}", meant[1:], 0)

    write_files(root / "twice" / f"env-{OTHER}", targets=[])
    with pytest.raises(StartupError, match=r"it is unclear where to write: .*remove one of the two"):
        write_directory(root, meant[1:], 0)

    for name in ("", "../x", "a\0b"):
        config = meant[0].config
        info = type(config.info)(EnvironmentId(name))
        odd = OfflineEnvironment(type(config)(info, {}, {}, frozenset()), ())
        with pytest.raises(StartupError, match="a directory name cannot contain environment"):
            write_directory(root, [odd], 0)
    assert hidden(root) == []


def test_a_directory_that_cannot_be_written_is_told_with_the_user(tmp_path: Path) -> None:
    """Before anything else is done, and with what to do about it."""
    with pytest.raises(StartupError) as refused:
        check_writable(tmp_path, FailingDisk(3, errno.EACCES))
    assert f"user id {os.getuid()}" in str(refused.value)
    assert str(tmp_path) in str(refused.value)
    assert "Permission denied" in str(refused.value)
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match="user id"):
        check_writable(tmp_path / "file" / "below")


def test_the_check_leaves_nothing_behind(root: Path) -> None:
    """Nor does one that was cut off stand in the way of the next."""
    with pytest.raises(PowerCutError):
        check_writable(root, FailingDisk(4))
    check_writable(root)
    assert hidden(root) == []


def test_the_go_proxy_finds_the_four_names(root: Path) -> None:
    """Exactly the files that it looks for, beside the README."""
    names = {path.name for path in (root / f"env-{ENV}").iterdir()}
    assert names == {"auth_config.json", "feature_config.json", "segments.json", "targets.json", "README.md"}
    keys = json.loads((root / f"env-{ENV}" / "auth_config.json").read_text())
    assert all(len(key) == 64 and int(key, 16) for key in keys)
