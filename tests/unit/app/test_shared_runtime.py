"""The runtime directory: ours alone, and gone with us, however we went."""

import io
import json
import os
import signal
import stat
import tempfile
from pathlib import Path

import pytest

from ff_proxy.app.shared_runtime import open_shared_runtime
from ff_proxy.telemetry.logs import make_logger

# Where other tests have left threads behind, Python warns of what only they could suffer from.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(autouse=True)
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


class Log:
    """A log that can be read."""

    def __init__(self) -> None:
        self.out = io.StringIO()
        self.logger = make_logger("INFO", self.out)

    @property
    def removed(self) -> list[str]:
        """Which directories were said to be removed."""
        return [json.loads(line)["directory"] for line in self.out.getvalue().splitlines()]


def killed(parent: Path) -> Path:
    """The directory that a process left that was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        with open_shared_runtime(Log().logger) as made:
            os.write(writing, os.fsencode(made.directory))
            os.kill(os.getpid(), signal.SIGKILL)
    os.close(writing)
    os.waitpid(child, 0)
    name = os.read(reading, 4096).decode()
    os.close(reading)
    assert Path(name).parent == parent
    return Path(name)


def test_it_is_ours_alone_and_goes_with_us() -> None:
    """With everything in it."""
    with open_shared_runtime(Log().logger) as made:
        assert stat.S_IMODE(made.directory.stat().st_mode) == 0o700
        assert stat.S_IMODE(made.metrics.stat().st_mode) == 0o700
        (made.metrics / "one.db").touch()
    assert not made.directory.exists()


def test_what_a_killed_process_left_is_removed_at_the_next_start(parent: Path) -> None:
    """And nothing else: neither what is in use nor what somebody else made."""
    left = killed(parent)
    foreign = parent / "ff-proxy-of-somebody"
    foreign.mkdir()
    (parent / "ff-proxy-file").touch()
    (parent / "ff-proxy-link").symlink_to(foreign)
    log = Log()
    with open_shared_runtime(log.logger) as first:
        assert not left.exists()
        assert log.removed == [str(left)]
        with open_shared_runtime(log.logger) as second:
            assert first.directory.exists()
        assert first.directory.exists()
        assert not second.directory.exists()
    assert log.removed == [str(left)]
    assert {path.name for path in parent.iterdir()} == {foreign.name, "ff-proxy-file", "ff-proxy-link"}


def test_as_long_as_a_child_lives_it_is_in_use(parent: Path) -> None:
    """Its supervisor may have been killed a moment ago."""
    reading, writing = os.pipe()
    told, tell = os.pipe()
    with open_shared_runtime(Log().logger) as made:
        child = os.fork()
        if not child:
            os.close(tell)
            os.write(writing, b"x")
            os.read(told, 1)
            os._exit(0)
        os.read(reading, 1)
        kept = made.directory
        kept.rename(parent / "ff-proxy-kept")  # its maker does not find it in the end, as if it were dead
    log = Log()
    with open_shared_runtime(log.logger):
        assert log.removed == []
    os.write(tell, b"x")
    os.waitpid(child, 0)
    with open_shared_runtime(log.logger):
        assert log.removed == [str(parent / "ff-proxy-kept")]
    for descriptor in (reading, writing, told, tell):
        os.close(descriptor)
