"""Checks, their findings, and running them."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import msgspec

from ff_proxy.aio.border import described
from ff_proxy.errors import FfProxyError

_LOOK_SECONDS: Final = 0.5


class Outcome(StrEnum):
    """The outcome of a check; only a problem makes the command fail."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"


class Finding(msgspec.Struct, frozen=True):
    """One line: what was checked, what was found, and what to do about it (empty: nothing)."""

    check: str
    outcome: Outcome
    text: str
    advice: str = ""


class Reporter:
    """Collects the findings of one check, or of one of its parts."""

    def __init__(self, name: str, take: Callable[[Finding], None]) -> None:
        self._name = name
        self._take = take

    def ok(self, text: str) -> None:
        """Report that all is well."""
        self._add(Outcome.OK, text, "")

    def warning(self, text: str, advice: str) -> None:
        """Report what works but deserves attention."""
        self._add(Outcome.WARNING, text, advice)

    def problem(self, text: str, advice: str) -> None:
        """Report what does not work; ``advice`` may be empty if ``text`` contains it."""
        self._add(Outcome.PROBLEM, text, advice)

    def skipped(self, text: str) -> None:
        """Report what could not or need not be checked."""
        self._add(Outcome.SKIPPED, text, "")

    async def each(self, parts: Sequence[tuple[str, "Work"]]) -> None:
        """Run the named parts concurrently; their findings keep the order of the parts."""
        found: list[list[Finding]] = [[] for _ in parts]
        async with asyncio.TaskGroup() as group:
            for taken, (name, work) in zip(found, parts, strict=True):
                group.create_task(_contained(Reporter(f"{self._name} {name}", taken.append), work))
        for finding in (one for taken in found for one in taken):
            self._take(finding)

    def _add(self, outcome: Outcome, text: str, advice: str) -> None:
        self._take(Finding(self._name, outcome, _one_line(text), _one_line(advice)))


Work = Callable[[Reporter], Awaitable[None]]


async def _contained(report: Reporter, work: Work) -> None:
    """Turn whatever a check raises into a finding, so that the others go on."""
    try:
        await work(report)
    except FfProxyError as error:
        report.problem(str(error), "")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        report.problem(f"{where}{error.strerror or error}", f"check what user id {os.getuid()} may do there")
    except Exception as error:  # noqa: BLE001  (a check that fails must not take the others with it)
        why = f"{type(error).__name__}: {described(error)}"
        report.problem(f"the check failed: {why}", "please report this")


@dataclass(frozen=True, slots=True)
class Check:
    """A check with a timeout of ``seconds``."""

    name: str
    run: Work
    seconds: float = 15.0


@dataclass(slots=True)
class _Running:
    check: Check
    found: list[Finding] = field(default_factory=list)
    shown: int = 0
    done: bool = False


async def run_checks(
    checks: Sequence[Check],
    show: Callable[[Finding], None],
    progress: Callable[[int, Sequence[str]], None],
) -> list[Finding]:
    """Run ``checks`` concurrently and return their findings in order.

    ``show`` is called for each finding in that order, as early as possible; ``progress`` now and then, with
    the number of finished checks and the names of the others.
    """
    running = [_Running(check) for check in checks]

    def show_ready() -> None:
        for one in running:
            for finding in one.found[one.shown :]:
                show(finding)
            one.shown = len(one.found)
            if not one.done:
                return

    async def run(one: _Running) -> None:
        await _bounded(one)
        one.done = True
        show_ready()

    async def watch() -> None:
        while True:
            progress(sum(one.done for one in running), [one.check.name for one in running if not one.done])
            await asyncio.sleep(_LOOK_SECONDS)

    watching = asyncio.create_task(watch())
    try:
        async with asyncio.TaskGroup() as group:
            for one in running:
                group.create_task(run(one))
    finally:
        watching.cancel()
    return [finding for one in running for finding in one.found]


async def _bounded(one: _Running) -> None:
    reporter = Reporter(one.check.name, one.found.append)
    try:
        async with asyncio.timeout(one.check.seconds):
            await _contained(reporter, one.check.run)
    except TimeoutError:
        reporter.problem(
            f"no result within {one.check.seconds:g} seconds", "find out what hangs there, then ask again"
        )


def _one_line(text: str) -> str:
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())
