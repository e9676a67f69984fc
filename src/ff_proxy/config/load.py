"""From command line, environment and files to the record of one role, and again when they have changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ff_proxy.config import checks
from ff_proxy.config.declare import Mode, build
from ff_proxy.config.records import ROLES, RoleOptions, declared
from ff_proxy.config.settings import Inputs, Setting, Settings, read_settings, settle
from ff_proxy.config.sources import ReadFile
from ff_proxy.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Loaded:
    """Usable options: the role's record, warnings to be logged once there is a log, every value's source.

    ``files`` are those that were read: ``.env``, TOML, and the files that hold a secret.
    """

    options: RoleOptions
    warnings: tuple[str, ...]
    report: tuple[Setting, ...]
    files: tuple[Path, ...]
    inputs: Inputs = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The options as the sources hold them now.

    ``changed`` are the flags of options that can change while the process runs, ``restart`` those of options
    that have changed in the sources and take effect with a restart.
    """

    loaded: Loaded
    changed: tuple[str, ...]
    restart: tuple[str, ...]


def load(
    argv: Sequence[str],
    environ: Mapping[str, str],
    read_file: ReadFile = Path.read_bytes,
    roles: Mapping[Mode, type[Any]] = ROLES,
) -> Loaded:
    """Read all sources (spec/behaviour#options) and make the record of the role that they choose.

    Pure but for reading the files that options name. Raises ``ConfigError`` with every problem there is.
    """
    return checked(read_settings(argv, environ, read_file, declared(*roles.values())), roles)


def checked(settings: Settings, roles: Mapping[Mode, type[Any]] = ROLES) -> Loaded:
    """As ``load``, for settings that have been read already."""
    problems = checks.problems(settings, roles)
    if problems:
        raise ConfigError(*problems)
    return Loaded(
        build(roles[checks.mode_of(settings)], settings),
        tuple(checks.warnings(settings)),
        tuple(settings),
        settings.files,
        settings.inputs,
    )


def reload(loaded: Loaded) -> Reloaded:
    """Read the sources again: the command line and environment of the start, the files as they are now.

    Raises ``ConfigError`` with every problem; the present options then stay in force.
    """
    again = checked(settle(loaded.inputs))
    before = {setting.option.flag: setting.value for setting in loaded.report}
    moved = [now.option for now in again.report if now.value != before[now.option.flag]]
    return Reloaded(
        again,
        tuple(option.flag for option in moved if option.reloadable),
        tuple(option.flag for option in moved if not option.reloadable),
    )
