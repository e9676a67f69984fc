"""Whatever happens to a directory: what was served stays served, unless it was removed and stayed away."""

import asyncio
import errno
import io
import json
import shutil
import tempfile
from pathlib import Path
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ff_proxy.model.environment import EnvironmentConfig
from ff_proxy.model.keys import EnvironmentId, hash_key
from ff_proxy.offline.watcher import OfflineWatcher
from ff_proxy.store.memory import MemoryConfigs, MemoryTargets
from ff_proxy.telemetry import Telemetry
from ff_proxy.telemetry.logs import make_logger
from tests.support.clock import FakeClock
from tests.support.offline import FaultyFiles, flag_doc

GRACE: Final = 30.0
NAMES: Final = ("one", "two")
FILES: Final = ("auth_config", "feature_config", "segments")
ERRORS: Final = (errno.EACCES, errno.EIO, errno.ESTALE, errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG)

names = st.sampled_from(NAMES)
parts = st.sampled_from(FILES)


def content(part: str, version: int) -> str:
    """What a good file of a part holds."""
    return json.dumps(
        {
            "auth_config": [hash_key("key")],
            "feature_config": [flag_doc("glaze", version=version)],
            "segments": [{"identifier": "night", "version": version}],
        }[part]
    )


class Directory(RuleBasedStateMachine):
    """File system operations, some of them mean, and a model of since when each file has been away."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.root = Path(tempfile.mkdtemp())
        self.aside = Path(tempfile.mkdtemp())
        self.clock = FakeClock()
        self.files = FaultyFiles()
        self.configs = MemoryConfigs("epoch", self.clock)
        telemetry = Telemetry(make_logger("ERROR", io.StringIO()), self.clock)
        self.watcher = OfflineWatcher(
            self.root,
            self.configs,
            MemoryTargets(self.clock, 10),
            self.clock,
            telemetry,
            grace=GRACE,
            files=self.files,
        )
        self.version = 1
        # Since when a part has been absent where that can be seen, as of the looks so far.
        self.away: dict[tuple[str, str], float] = {}
        # Parts that may rightly have been withdrawn, until they are there again.
        self.gone: set[tuple[str, str]] = set()
        for name in NAMES:
            self.fill(name)
        self.loop.run_until_complete(self.watcher.load())

    def teardown(self) -> None:
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.rmtree(self.aside, ignore_errors=True)

    def directory(self, name: str) -> Path:
        return self.root / f"env-{name}"

    def is_directory(self, name: str) -> bool:
        try:
            return self.directory(name).is_dir()
        except OSError:
            return False  # a link to itself

    def fill(self, name: str) -> None:
        self.directory(name).mkdir(exist_ok=True)
        for part in FILES:
            self.write(name, part, content(part, self.version))

    def write(self, name: str, part: str, text: str) -> None:
        if self.is_directory(name):
            file = self.directory(name) / f"{part}.json"
            if file.is_symlink() or file.is_file():
                file.unlink()
            file.write_text(text)

    @rule(name=names)
    def restore(self, name: str) -> None:
        """Everything of an environment anew."""
        self.version += 1
        directory = self.directory(name)
        if directory.is_symlink() or directory.is_file():
            directory.unlink()
        self.fill(name)

    @rule(name=names, part=parts)
    def remove_file(self, name: str, part: str) -> None:
        """``rm``."""
        if self.is_directory(name):
            (self.directory(name) / f"{part}.json").unlink(missing_ok=True)

    @rule(name=names)
    def remove_directory(self, name: str) -> None:
        """``rm -r``."""
        if self.is_directory(name):
            shutil.rmtree(self.directory(name))

    @rule(name=names)
    def empty_directory(self, name: str) -> None:
        """A mount point without its volume."""
        self.remove_directory(name)
        if not self.directory(name).exists() and not self.directory(name).is_symlink():
            self.directory(name).mkdir()

    @rule(name=names, what=st.sampled_from(["file", "nowhere", "itself"]))
    def put_something_else_there(self, name: str, what: str) -> None:
        """A file, a link to nothing, or one to itself, where a directory was."""
        self.remove_directory(name)
        directory = self.directory(name)
        if directory.is_symlink() or directory.exists():
            return  # there is something else already
        if what == "file":
            directory.touch()
        else:
            directory.symlink_to(directory if what == "itself" else "nowhere")

    @rule(name=names, part=parts, cut=st.floats(0, 0.99))
    def cut_off(self, name: str, part: str, cut: float) -> None:
        """Half of a file, or nothing of it."""
        text = content(part, self.version + 1)
        self.write(name, part, text[: int(len(text) * cut)])

    @rule(name=names, part=parts)
    def link_to_nothing(self, name: str, part: str) -> None:
        """What a ConfigMap's links are for a moment."""
        if self.is_directory(name):
            self.remove_file(name, part)
            (self.directory(name) / f"{part}.json").symlink_to("nowhere")

    @rule(name=names, part=st.none() | parts, number=st.sampled_from(ERRORS))
    def fail(self, name: str, part: str | None, number: int) -> None:
        """The system refuses to read a file or a directory."""
        directory = self.directory(name)
        self.files.fail(directory if part is None else directory / f"{part}.json", number)

    @rule(number=st.sampled_from(ERRORS))
    def fail_altogether(self, number: int) -> None:
        """The system refuses to read anything."""
        self.files.fail(self.root, number)

    @rule(name=names)
    def change_device(self, name: str) -> None:
        """What is at the place is another volume."""
        self.files.move_to_device(self.directory(name), 99)

    @rule()
    def mend(self) -> None:
        """The system answers again."""
        self.files.mend()

    @rule(seconds=st.sampled_from([0.0, 1.0, 14.0, 29.0, 31.0]))
    def wait(self, seconds: float) -> None:
        """Time passes, and the watcher looks."""
        self.poll(seconds)

    def poll(self, seconds: float) -> None:
        self.loop.run_until_complete(self.clock.advance(seconds))
        self.loop.run_until_complete(self.watcher.scan())
        now = self.clock.monotonic()
        for name in NAMES:
            for part in FILES:
                key = name, part
                absent = self.is_absent(name, part)
                if absent is None or (absent and self.is_served(name, part)):
                    assert self.watcher.degraded
                if absent:
                    since = self.away.setdefault(key, now)
                    if now - since >= GRACE:
                        self.gone.add(key)
                else:
                    self.away.pop(key, None)
        for key in list(self.gone):
            if self.is_served(*key):
                self.gone.discard(key)

    @rule()
    def outlast_the_grace(self) -> None:
        """It stays as it is for long."""
        self.poll(0.0)
        self.poll(GRACE + 1)

    def is_absent(self, name: str, part: str) -> bool | None:
        """Whether a file is not there; ``None`` if the directory that would say so cannot be read."""
        directory = self.directory(name)
        try:
            self.files.entries(self.root)
            if directory.name not in self.files.entries(self.root):
                return True
            return f"{part}.json" not in self.files.entries(directory)
        except OSError:
            return None

    def config(self, name: str) -> EnvironmentConfig | None:
        return self.loop.run_until_complete(self.configs.environment(EnvironmentId(name)))

    def is_served(self, name: str, part: str) -> bool:
        config = self.config(name)
        if config is None:
            return False
        return bool({"auth_config": config.keys, "feature_config": config.flags}.get(part, config.segments))

    @invariant()
    def nothing_is_lost(self) -> None:
        """What was served is served."""
        for name in NAMES:
            for part in FILES:
                assert (name, part) in self.gone or self.is_served(name, part), (name, part)


TestDirectory = Directory.TestCase
TestDirectory.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
