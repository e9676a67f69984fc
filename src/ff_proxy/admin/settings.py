"""Changes to settings while the proxy runs, for pages and API."""

from collections.abc import Mapping, Sequence
from typing import Final

from ff_proxy.admin.ports import SettingRow
from ff_proxy.errors import RequestError
from ff_proxy.telemetry import Logger
from ff_proxy.telemetry.levels import LEVELS, LogLevels

_MOST_ENVIRONMENTS: Final = 1000


def change_level(levels: LogLevels, log: Logger, level: str, environment: str = "") -> None:
    """Change the log level, for all or for one environment; raises ``RequestError`` 400.

    An empty ``level`` removes an environment's own level.
    """
    wanted = level.upper()
    if wanted not in LEVELS and (wanted or not environment):
        raise RequestError(400, f"level must be one of {', '.join(LEVELS)}")
    default, environments = levels.default, dict(levels.environments)
    if not environment:
        default = wanted
    elif wanted:
        environments[environment] = wanted
    else:
        environments.pop(environment, None)
    if len(environments) > _MOST_ENVIRONMENTS:
        raise RequestError(400, "too many environments have a level of their own")
    levels.change(default, environments)
    log.warning("log level changed until the next restart", level=wanted, of=environment or "all")


def by_section(rows: Sequence[SettingRow]) -> Mapping[str, Sequence[SettingRow]]:
    """The options of each section, in the order in which they are declared."""
    found: dict[str, list[SettingRow]] = {}
    for row in rows:
        found.setdefault(row.section, []).append(row)
    return found
