"""``ff-proxy print-config``: every option's effective value and where it comes from, secrets masked."""

from collections.abc import Iterable
from typing import TextIO

from ff_proxy.config import checks
from ff_proxy.config.settings import Setting, Settings
from ff_proxy.errors import ConfigError, ExitCode


def print_config(settings: Settings, out: TextIO) -> ExitCode:
    """Write the mode, the values, then warnings; the report is complete even if the options are unusable.

    Raises ``ConfigError`` with every problem, as a run with these options would.
    """
    out.write(f"mode: {checks.mode_of(settings).value}\n")
    out.writelines(f"{line}\n" for line in _table(settings))
    out.writelines(f"warning: {warning}\n" for warning in checks.warnings(settings))
    problems = checks.problems(settings)
    if problems:
        raise ConfigError(*problems)
    return ExitCode.OK


def _table(settings: Iterable[Setting]) -> Iterable[str]:
    rows = [(setting.option.flag, setting.shown or "-", setting.place) for setting in settings]
    width = max(len(flag) for flag, _, _ in rows)
    value_width = min(40, max(len(value) for _, value, _ in rows))
    for flag, value, place in rows:
        yield f"{flag:<{width}}  {value:<{value_width}}  {place}"
