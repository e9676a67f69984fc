"""What an operator names as a file: it is read, or refused with its reason; reading never hangs or grows."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ff_proxy.errors import ConfigError, StartupError
from ff_proxy.file_reading import MOST_BYTES, read_file_or_pipe, read_regular_file
from ff_proxy.http.tls import TlsFiles, load_tls
from ff_proxy.offline.files import Files
from ff_proxy.tls.trust import client_trust

Reader = Callable[[Path], bytes]

READERS = [read_regular_file, read_file_or_pipe, Files().read]


def a_directory(path: Path) -> None:
    """A directory in place of a file."""
    path.mkdir()


def a_link_to_itself(path: Path) -> None:
    """A loop of links."""
    path.symlink_to(path)


def a_link_to_nothing(path: Path) -> None:
    """A broken link."""
    path.symlink_to(path.with_name("nothing"))


def an_endless_device(path: Path) -> None:
    """A device that never ends."""
    path.symlink_to("/dev/zero")


def more_than_memory(path: Path) -> None:
    """A file of four terabytes, all of it a hole."""
    with path.open("wb") as file:
        file.truncate(2**42)


def a_pipe(path: Path) -> None:
    """A pipe without a writer."""
    os.mkfifo(path)


NEVER_READ = [a_directory, a_link_to_itself, a_link_to_nothing, an_endless_device, more_than_memory]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("content", [b"", b"a", b"\x00" * 200_000])
def test_a_file_is_read(tmp_path: Path, read: Reader, content: bytes) -> None:
    """All of it, also through a link."""
    path = tmp_path / "file"
    path.write_bytes(content)
    (tmp_path / "link").symlink_to(path)
    assert read(path) == read(tmp_path / "link") == content


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("make", NEVER_READ)
def test_what_is_no_file_or_too_large_is_refused(
    tmp_path: Path, read: Reader, make: Callable[[Path], None]
) -> None:
    """At once, with the path and the reason."""
    path = tmp_path / "file"
    make(path)
    with pytest.raises(OSError, match=r".") as refused:
        read(path)
    assert refused.value.filename == str(path)
    assert refused.value.strerror


@pytest.mark.parametrize("read", [read_regular_file, Files().read])
def test_a_pipe_is_not_waited_for_where_files_are_read_again_and_again(tmp_path: Path, read: Reader) -> None:
    """Its writer might never come."""
    path = tmp_path / "pipe"
    a_pipe(path)
    with pytest.raises(OSError, match="Not a regular file"):
        read(path)


@pytest.mark.parametrize("content", [b"", b"PORT=1", b"x" * 300_000])
def test_a_pipe_is_read_to_its_end(tmp_path: Path, content: bytes) -> None:
    """Whenever its writer comes, as with ``<(command)``."""
    path = tmp_path / "pipe"
    a_pipe(path)
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    assert read_file_or_pipe(path, seconds=60) == content
    writer.join()


def test_what_was_written_to_a_pipe_before_is_read() -> None:
    """The command may have ended already."""
    reading, writing = os.pipe()
    try:
        os.write(writing, b"PORT=1")
        os.close(writing)
        assert read_file_or_pipe(Path(f"/dev/fd/{reading}"), seconds=60) == b"PORT=1"
    finally:
        os.close(reading)


def test_a_pipe_without_an_end_is_given_up(tmp_path: Path) -> None:
    """Nobody writes, or somebody writes half and stays."""
    path = tmp_path / "pipe"
    a_pipe(path)
    with pytest.raises(TimeoutError, match="Nobody wrote it to its end"):
        read_file_or_pipe(path, seconds=0.01)
    writer = os.open(path, os.O_RDWR)
    try:
        os.write(writer, b"half")
        with pytest.raises(TimeoutError, match="Nobody wrote it to its end"):
            read_file_or_pipe(path, seconds=0.01)
    finally:
        os.close(writer)


def test_an_endless_pipe_is_too_large(tmp_path: Path) -> None:
    """It is not read into memory until that is full."""
    path = tmp_path / "pipe"
    a_pipe(path)
    writer = threading.Thread(target=_write_all, args=(path, MOST_BYTES + 1_000_000))
    writer.start()
    with pytest.raises(OSError, match="File too large"):
        read_file_or_pipe(path, seconds=60)
    writer.join()


def _write_all(path: Path, size: int) -> None:
    try:
        path.write_bytes(b"x" * size)
    except BrokenPipeError:
        return


@pytest.mark.parametrize("make", [*NEVER_READ, a_pipe])
def test_certificates_that_are_no_files_are_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """The proxy's own and those of others: OpenSSL would wait for a pipe, or read a device for ever."""
    path = tmp_path / "file"
    make(path)
    with pytest.raises(ConfigError, match=str(path)):
        load_tls(TlsFiles(path, path))
    with pytest.raises(StartupError, match=str(path)):
        client_trust({"SSL_CERT_FILE": str(path)})
