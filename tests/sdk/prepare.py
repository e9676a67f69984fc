#!/usr/bin/env python3
"""Makes the SDK drivers ready to run: npm packages, the Go and the Java driver. Fast when nothing changed.

Run it by hand (`python tests/sdk/prepare.py [sdk …]`), or let the session fixture of the SDK tests do it.
"""

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent
NODE = ROOT / "node"
BROWSER = ROOT / "browser"
REACT = ROOT / "react"
GO = ROOT / "go"
JAVA = ROOT / "java"
OPENFEATURE = ROOT / "openfeature"
OPENFEATURE_JAVA = OPENFEATURE / "java"

SDK_BUNDLE = BROWSER / "node_modules/@harnessio/ff-javascript-client-sdk/dist/sdk.client-iife.js"
GO_DRIVER = GO / "target/driver"

BUILD_WITHIN = 600  # seconds for one step, the downloads of a new machine included


class PrepareError(Exception):
    """A driver could not be made ready: the text has the command and the end of what it printed."""


@functools.cache
def executable(name: str, *elsewhere: str) -> str | None:
    """The path of a tool, from PATH or from one of the places where distributions put it; looked for once."""
    return shutil.which(name) or next((path for path in elsewhere if os.access(path, os.X_OK)), None)


def chromium() -> str | None:
    """The browser that the JavaScript SDK runs in."""
    return executable("chromium") or executable("chromium-browser") or executable("google-chrome")


def go() -> str | None:
    """The Go tool: its own installer puts it outside PATH."""
    return executable("go", "/usr/local/go/bin/go")


def missing_tools(sdk: str) -> list[str]:
    """The tools that this SDK's driver needs and this machine lacks."""
    needed: Mapping[str, Mapping[str, str | None]] = {
        "python": {},
        "node": {"node": executable("node"), "npm": executable("npm")},
        "browser": {"npm": executable("npm"), "chromium": chromium()},
        "react": {"node": executable("node"), "npm": executable("npm"), "chromium": chromium()},
        "go": {"go": go()},
        "openfeature": {"node": executable("node"), "npm": executable("npm"), "chromium": chromium()},
        "openfeature-java": {name: executable(name) for name in ("java", "javac", "mvn")},
        "java": {name: executable(name) for name in ("java", "javac", "mvn")},
    }
    return [name for name, path in needed[sdk].items() if path is None]


def prepare(sdks: Iterable[str]) -> None:
    """Make these SDKs' drivers ready; a `PrepareError` says what went wrong.

    Safe to call from several processes at once: the second waits for the first.
    """
    with _alone():
        for sdk in sdks:
            STEPS[sdk]()


def _prepare_python() -> None:
    """Nothing to build: the SDK is in the environment that runs the tests."""


def _prepare_npm(folder: Path) -> None:
    with _stamped(folder / "node_modules", folder.glob("*.json"), [folder / ".npmrc"]) as stale:
        if stale:
            _run([executable("npm") or "npm", "ci", "--ignore-scripts"], folder)


def _prepare_go() -> None:
    with _stamped(GO / "target", GO.glob("go.*"), GO.glob("*.go")) as stale:
        if stale:
            _run([go() or "go", "build", "-buildvcs=false", "-trimpath", "-o", str(GO_DRIVER), "."], GO)


def _prepare_java(folder: Path) -> None:
    with _stamped(folder / "target", [folder / "pom.xml"], folder.glob("*.java")) as stale:
        if not stale and all(Path(jar).exists() for jar in java_classpath(folder)[1:]):
            return
        maven = [executable("mvn") or "mvn", "--batch-mode", "--quiet"]
        _run([*maven, "dependency:build-classpath", f"-Dmdep.outputFile={_resolved(folder)}"], folder)
        classpath = java_classpath(folder)
        compiler = [executable("javac") or "javac", "-d", classpath[0]]
        _run([*compiler, "-cp", os.pathsep.join(classpath), "Driver.java"], folder)


def java_classpath(folder: Path) -> list[str]:
    """The classes of the driver in ``folder``, and everything that it needs, as Maven resolved it."""
    return [str(folder / "target/classes"), *_resolved(folder).read_text().strip().split(os.pathsep)]


def _resolved(folder: Path) -> Path:
    return folder / "target/classpath"


STEPS: Mapping[str, Callable[[], None]] = {
    "python": _prepare_python,
    "node": lambda: _prepare_npm(NODE),
    "browser": lambda: _prepare_npm(BROWSER),
    "react": lambda: _prepare_npm(REACT),
    "go": _prepare_go,
    "openfeature": lambda: _prepare_npm(OPENFEATURE),
    "openfeature-java": lambda: _prepare_java(OPENFEATURE_JAVA),
    "java": lambda: _prepare_java(JAVA),
}


@contextmanager
def _alone() -> Iterator[None]:
    """Hold the lock of this folder, so that two test runs do not build into each other."""
    handle = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def _stamped(output: Path, *sources: Iterable[Path]) -> Iterator[bool]:
    """Tell whether the output was made from other sources; record these ones once the step has succeeded."""
    digest = hashlib.sha256()
    for source in sorted(path for group in sources for path in group):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    stamp = output / ".stamp"
    stale = not stamp.is_file() or stamp.read_text() != digest.hexdigest()
    yield stale
    output.mkdir(exist_ok=True)
    stamp.write_text(digest.hexdigest())


def _run(command: list[str], folder: Path) -> None:
    try:
        result = subprocess.run(  # the commands are those of this file
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BUILD_WITHIN,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PrepareError(f"{' '.join(command)}: {error}") from error
    if result.returncode:
        raise PrepareError(f"{' '.join(command)}: {(result.stdout + result.stderr)[-3000:]}")


def main() -> None:
    """Prepare the named SDKs, or all that this machine has the tools for."""
    names = sys.argv[1:]
    for sdk in names or STEPS:
        missing = missing_tools(sdk)
        if missing and not names:
            print(f"{sdk}: left out, this machine lacks {', '.join(missing)}")  # noqa: T201  # a command's output
            continue
        prepare([sdk])
        print(f"{sdk}: ready")  # noqa: T201  # a command's output


if __name__ == "__main__":
    main()
