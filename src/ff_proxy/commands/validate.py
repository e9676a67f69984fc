"""``ff-proxy validate DIR``: is this offline directory one that the proxy can serve?"""

from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from ff_proxy.commands.command_line import NoOptions, read_command
from ff_proxy.commands.dangling_references import dangling
from ff_proxy.errors import ConfigError, ExitCode
from ff_proxy.offline.directory import DirectoryReading, read_directory
from ff_proxy.offline.problems import Problem, Severity

_MARKS = {Severity.WARNING: "warning", Severity.ERROR: "error", Severity.BROKEN: "broken"}


def validate(argv: Sequence[str], out: TextIO) -> ExitCode:
    """Run ``ff-proxy validate DIR``: every problem with its file and place, then a summary.

    ``OK`` if everything can be used, warnings or not; ``BAD_CONFIGURATION`` if anything cannot. Raises
    ``ConfigError`` for a command line that cannot be used, ``OfflineDataError`` if ``DIR`` cannot be read.
    """
    command = read_command(argv, NoOptions, words=1)
    if command is None:
        print(
            "ff-proxy validate DIR\n\nCheck an offline directory; exit code 0 if it can be served.", file=out
        )
        return ExitCode.OK
    _, words = command
    if not words:
        raise ConfigError("validate: name the directory to check, as in ff-proxy validate /config")
    reading = read_directory(Path(words[0]))
    problems = _problems(reading)
    for problem in problems:
        print(f"{_MARKS[problem.severity]}: {problem}", file=out)
    for one in reading.readings:
        if one.environment is not None:
            config = one.environment.config
            print(
                f"{config.id}: {len(config.flags)} flags, {len(config.segments)} segments, "
                f"{len(one.environment.targets)} targets, {len(config.keys)} keys",
                file=out,
            )
    bad = sum(problem.severity is not Severity.WARNING for problem in problems)
    if not reading.locations:
        print(f"broken: {words[0]}: no directory env-<environment id> in it", file=out)
        return ExitCode.BAD_CONFIGURATION
    print(f"{len(reading.locations)} environments, {bad} errors, {len(problems) - bad} warnings", file=out)
    return ExitCode.BAD_CONFIGURATION if bad else ExitCode.OK


def _problems(reading: DirectoryReading) -> list[Problem]:
    found = (problem for one in reading.readings for problem in one.problems)
    return [*reading.problems, *found, *dangling(reading.readings)]
