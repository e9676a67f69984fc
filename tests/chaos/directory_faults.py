"""Trouble with an offline directory; what is written meanwhile is kept back until it is over."""

import random
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path

from tests.chaos.fault import Begin
from tests.chaos.world import World


def directory(trouble: Callable[[Path], AbstractContextManager[None]]) -> Begin:
    """The trouble befalls the directory that a proxy serves from."""

    @asynccontextmanager
    async def begin(world: World, _: random.Random) -> AsyncIterator[None]:
        assert world.data is not None
        world.publishing = False
        try:
            with trouble(world.data):
                yield
        finally:
            world.publishing = True
            world.publish()

    return begin


@contextmanager
def moved_away(root: Path) -> Iterator[None]:
    """As a volume that is unmounted."""
    away = root.rename(root.with_name("away"))
    try:
        yield
    finally:
        away.rename(root)


@contextmanager
def emptied(root: Path) -> Iterator[None]:
    """As ``rm`` and then ``cp`` do it."""
    kept = shutil.copytree(root, root.with_name("kept"))
    for environment in root.iterdir():
        if environment.is_dir():
            shutil.rmtree(environment)
    try:
        yield
    finally:
        shutil.copytree(kept, root, dirs_exist_ok=True)
        shutil.rmtree(kept)


def written(content: bytes) -> Callable[[Path], AbstractContextManager[None]]:
    """A file of flags is something else."""

    @contextmanager
    def trouble(root: Path) -> Iterator[None]:
        files = list(root.rglob("feature_config.json"))
        before = {file: file.read_bytes() for file in files}
        for file in files:
            file.write_bytes(content)
        try:
            yield
        finally:
            for file, held in before.items():
                file.write_bytes(held)

    return trouble


@contextmanager
def half_written(root: Path) -> Iterator[None]:
    """As a copy that is under way leaves it."""
    files = {file: file.read_bytes() for file in root.rglob("*.json")}
    for file, content in files.items():
        file.write_bytes(content[: len(content) // 2])
    try:
        yield
    finally:
        for file, content in files.items():
            file.write_bytes(content)


@contextmanager
def unreadable(root: Path) -> Iterator[None]:
    """Where a file was there is something that cannot be read as one."""
    files = {file: file.read_bytes() for file in root.rglob("feature_config.json")}
    for file in files:
        file.unlink()
        file.mkdir()
    try:
        yield
    finally:
        for file, content in files.items():
            file.rmdir()
            file.write_bytes(content)
