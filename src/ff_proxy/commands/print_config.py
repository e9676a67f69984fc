"""``ff-proxy print-config``: every option's effective value and where it comes from, secrets masked."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TextIO

from ff_proxy.commands.command_line import JsonOptions, read_with_settings
from ff_proxy.commands.output import write_json
from ff_proxy.config import checks
from ff_proxy.config.settings import Setting, Settings
from ff_proxy.errors import ConfigError, ExitCode


def run(argv: Sequence[str], environ: Mapping[str, str], out: TextIO) -> ExitCode | None:
    """Run ``ff-proxy print-config ARGV…``; ``None`` if help is requested."""
    read = read_with_settings(argv, environ, JsonOptions)
    if read is None:
        return None
    options, settings = read
    return print_config_json(settings, out) if options.json else print_config(settings, out)


def print_config_json(settings: Settings, out: TextIO) -> ExitCode:
    """Like ``print_config``, but as one JSON object, which has the problems too."""
    problems = checks.problems(settings)
    listed = [
        {
            "flag": setting.option.flag,
            "variable": setting.option.env,
            "value": setting.masked,
            "source": setting.place,
            "given": settings.given(setting.option.flag),
        }
        for setting in settings
    ]
    write_json(
        out,
        {
            "mode": checks.mode_of(settings).value,
            "options": listed,
            "warnings": list(checks.warnings(settings)),
            "problems": problems,
        },
    )
    return ExitCode.BAD_CONFIGURATION if problems else ExitCode.OK


def print_config(settings: Settings, out: TextIO) -> ExitCode:
    """Write the mode, all values and the warnings, even if the options are invalid.

    Then raises ``ConfigError`` with every problem, as a start would.
    """
    out.write(f"mode: {checks.mode_of(settings).value}\n")
    out.writelines(f"{line}\n" for line in _table(settings))
    out.writelines(f"warning: {warning}\n" for warning in checks.warnings(settings))
    problems = checks.problems(settings)
    if problems:
        raise ConfigError(*problems)
    return ExitCode.OK


def _table(settings: Iterable[Setting]) -> Iterable[str]:
    rows = [(setting.option.flag, setting.masked or "-", setting.place) for setting in settings]
    width = max(len(flag) for flag, _, _ in rows)
    value_width = min(40, max(len(value) for _, value, _ in rows))
    for flag, value, place in rows:
        yield f"{flag:<{width}}  {value:<{value_width}}  {place}"
