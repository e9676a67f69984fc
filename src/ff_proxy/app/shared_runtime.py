"""What the processes of one proxy have in common, made before the first of them is forked."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ff_proxy.errors import StartupError
from ff_proxy.ipc import SharedGenerations
from ff_proxy.runtime.random_names import random_name
from ff_proxy.store.private_files import DIRECTORY_MODE

# What a Unix socket's path may be long everywhere, with room for its name.
_LONGEST: Final = 90


@dataclass(frozen=True, slots=True)
class SharedRuntime:
    """The runtime directory, shared memory, and the one name that all have towards others.

    ``member`` is the name in a fleet: a sync process that is started again keeps its leases by it.
    """

    directory: Path
    generations: SharedGenerations
    member: str
    supervisor: int

    @property
    def link(self) -> Path:
        """The sync process's socket."""
        return self.directory / "link"

    @property
    def metrics(self) -> Path:
        """Where every process writes its figures."""
        return self.directory / "figures"

    def remove_if_orphaned(self) -> None:
        """Remove the directory if the supervisor, whose duty that is, was killed."""
        if os.getppid() != self.supervisor:
            shutil.rmtree(self.directory, ignore_errors=True)


@contextmanager
def open_shared_runtime() -> Iterator[SharedRuntime]:
    """Made here, and removed in the end; raises ``StartupError`` if there is no room for it."""
    try:
        made = tempfile.TemporaryDirectory(prefix="ff-proxy-", ignore_cleanup_errors=True)
    except OSError as error:
        raise StartupError(f"no temporary directory can be made: {error}; name one with TMPDIR") from error
    with made as name, SharedGenerations() as generations:
        if len(os.fsencode(name)) > _LONGEST:
            raise StartupError(f"the path of {name} is too long for a socket; name another one with TMPDIR")
        common = SharedRuntime(Path(name), generations, random_name(), os.getpid())
        common.metrics.mkdir(DIRECTORY_MODE)
        yield common
