"""``ff-proxy validate DIR``: can the proxy serve this offline directory?"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from ff_proxy.commands.command_line import JsonOptions, read_command
from ff_proxy.commands.dangling_references import dangling
from ff_proxy.commands.output import write_json, write_text
from ff_proxy.errors import ConfigError, ExitCode
from ff_proxy.offline.directory import DirectoryReading, read_directory
from ff_proxy.offline.problems import Problem, Severity

_MARKS = {Severity.WARNING: "warning", Severity.ERROR: "error", Severity.BROKEN: "broken"}


def run(argv: Sequence[str], _: Mapping[str, str], out: TextIO) -> ExitCode | None:
    """Run ``ff-proxy validate ARGV…``: every problem with its file and place, then a summary.

    ``None`` if help is requested, ``OK`` if everything is usable, warnings or not, else
    ``BAD_CONFIGURATION``. Raises ``ConfigError`` for an invalid command line, ``OfflineDataError`` if ``DIR``
    cannot be read.
    """
    command = read_command(argv, JsonOptions, words=1)
    if command is None:
        return None
    options, words = command
    if not words:
        raise ConfigError("validate: name the directory to check, as in ff-proxy validate /config")
    reading = read_directory(Path(words[0]))
    problems = [*reading.all_problems, *dangling(reading.readings)]
    bad = sum(problem.severity is not Severity.WARNING for problem in problems)
    usable = bool(reading.locations) and not bad
    if options.json:
        write_json(out, {"ok": usable, "environments": _counts(reading), "problems": _listed(problems)})
    else:
        _write(words[0], reading, problems, bad, out)
    return ExitCode.OK if usable else ExitCode.BAD_CONFIGURATION


def _write(
    directory: str, reading: DirectoryReading, problems: Sequence[Problem], bad: int, out: TextIO
) -> None:
    write_text(out, *(f"{_MARKS[problem.severity]}: {problem}" for problem in problems))
    for one in _counts(reading):
        counted = ", ".join(f"{one[part]} {part}" for part in ("flags", "segments", "targets", "keys"))
        write_text(out, f"{one['id']}: {counted}")
    if reading.locations or bad:
        write_text(
            out, f"{len(reading.locations)} environments, {bad} errors, {len(problems) - bad} warnings"
        )
    else:
        write_text(out, f"broken: {directory}: no directory env-<environment id> in it")


def _counts(reading: DirectoryReading) -> list[dict[str, object]]:
    """What each readable environment contains."""
    return [
        {
            "id": environment.config.id,
            "flags": len(environment.config.flags),
            "segments": len(environment.config.segments),
            "targets": len(environment.targets),
            "keys": len(environment.config.keys),
        }
        for one in reading.readings
        if (environment := one.environment) is not None
    ]


def _listed(problems: Iterable[Problem]) -> list[dict[str, str]]:
    return [
        {
            "severity": _MARKS[problem.severity],
            "file": problem.path,
            "place": problem.place,
            "problem": problem.text,
        }
        for problem in problems
    ]
