"""OpenFeature's OFREP providers that run in the tests: each in a small program, one question a line."""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import pytest
from _pytest.mark import ParameterSet

from tests.sdk.client import DriverError, environment
from tests.sdk.prepare import OPENFEATURE, OPENFEATURE_JAVA, executable, missing_tools, prepare
from tests.sdk.sdks import java_command
from tests.support.looks import until_next_look

WITHIN: Final = 60.0  # seconds, for an answer and for the end


@dataclass(frozen=True, slots=True)
class Language:
    """A provider, and how its program is called once ``sdk`` has been prepared (``tests/sdk/prepare.py``)."""

    name: str
    sdk: str
    command: Callable[[], list[str]]
    tells_codes: bool = True
    """Whether an application sees the error code of a refusal: Java's calls them all INVALID_CONTEXT."""
    optional: bool = False
    """Whether CI may lack its toolchain."""


PYTHON: Final = Language(
    "python", "python", lambda: [sys.executable, str(OPENFEATURE / "openfeature_driver.py")]
)
NODE: Final = Language(
    "node", "openfeature", lambda: [executable("node") or "node", str(OPENFEATURE / "driver.mjs")]
)
JAVA: Final = Language(
    "java", "openfeature-java", lambda: java_command(OPENFEATURE_JAVA), tells_codes=False, optional=True
)


def languages() -> list[ParameterSet]:
    """Every language, as parameters of a test: what this machine lacks is skipped, or fails."""
    return [
        pytest.param(language, id=language.name, marks=_marks(missing_tools(language.sdk)))
        for language in (PYTHON, NODE, JAVA)
        if not (language.optional and os.environ.get("CI") == "true" and missing_tools(language.sdk))
    ]


def _marks(missing: Sequence[str]) -> list[pytest.MarkDecorator]:
    return [pytest.mark.skip(reason=f"this machine lacks {', '.join(missing)}")] if missing else []


class OpenFeatureClient:
    """One application with a provider; its context differs from question to question."""

    def __init__(self, language: Language, process: asyncio.subprocess.Process) -> None:
        self.language: Final = language
        self._process = process

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, language: Language, url: str, key: str, scratch: Path) -> AsyncIterator[Self]:
        """Prepared and started; its log goes to ``scratch``, and it ends with status 0."""
        await asyncio.to_thread(prepare, [language.sdk])
        with (scratch / f"{language.name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *language.command(),
                url,
                key,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=environment(scratch),
            )
        try:
            yield cls(language, process)
            assert process.stdin is not None
            process.stdin.close()
            assert await asyncio.wait_for(process.wait(), WITHIN) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def details(
        self, kind: str, flag: str, fallback: object, context: Mapping[str, object]
    ) -> dict[str, Any]:
        """An evaluation as an application sees it: ``value``, ``reason``, ``variant``, ``errorCode``.

        ``kind`` is boolean, string, integer, float or object.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"kind": kind, "flag": flag, "fallback": fallback, "context": dict(context)}
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        answer = await asyncio.wait_for(self._process.stdout.readline(), WITHIN)
        if not answer:
            raise DriverError(f"the driver ended with status {await self._process.wait()}")
        details: dict[str, Any] = json.loads(answer)
        return details

    async def until(
        self, kind: str, flag: str, fallback: object, expected: object, **context: object
    ) -> None:
        """Ask again and again until the value is ``expected``."""
        began = time.monotonic()
        details = await self.details(kind, flag, fallback, context)
        while details["value"] != expected:
            if time.monotonic() - began > WITHIN:
                raise DriverError(f"{flag} is still {details}, not {expected!r}")
            await asyncio.sleep(until_next_look(began))
            details = await self.details(kind, flag, fallback, context)
