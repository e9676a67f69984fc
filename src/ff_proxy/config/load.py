"""Loading the record of one role from command line, environment and files, and reloading it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ff_proxy.config import checks
from ff_proxy.config.declare import build, options_of
from ff_proxy.config.records import ROLES, ModeOptions, RoleOptions
from ff_proxy.config.settings import Inputs, Setting, Settings, read_settings, resolve_settings
from ff_proxy.config.sources import ReadFile
from ff_proxy.errors import ConfigError
from ff_proxy.file_reading import read_file_or_pipe


@dataclass(frozen=True, slots=True)
class Loaded:
    """Valid options: the role's record, warnings to log once logging works, and every value's source.

    ``files`` are the files that were read: ``.env``, TOML, and secrets.
    """

    options: RoleOptions
    warnings: tuple[str, ...]
    report: tuple[Setting, ...]
    files: tuple[Path, ...]
    inputs: Inputs = field(repr=False)


def load(argv: Sequence[str], environ: Mapping[str, str], read_file: ReadFile = read_file_or_pipe) -> Loaded:
    """Read all sources (spec/behaviour#options) and build the record of the role they choose.

    Does nothing but read the files that options name. Raises ``ConfigError`` with every problem.
    """
    return checked(read_settings(argv, environ, read_file))


def checked(settings: Settings) -> Loaded:
    """Like ``load``, for settings that were read already."""
    problems = checks.problems(settings)
    if problems:
        raise ConfigError(*problems)
    return Loaded(
        build(ROLES[checks.mode_of(settings)], settings),
        tuple(checks.warnings(settings)),
        tuple(settings),
        settings.files,
        settings.inputs,
    )


def reload(loaded: Loaded) -> tuple[Loaded, frozenset[str]]:
    """Read the sources again: the original command line and environment, and the current files.

    Also returns the flags of the options that differ. Raises ``ConfigError`` with every problem.
    """
    reread = checked(resolve_settings(loaded.inputs))
    old = {setting.option.flag: setting.value for setting in loaded.report}
    used = {option.flag for option in options_of(ModeOptions, type(reread.options))}
    return reread, frozenset(
        setting.option.flag
        for setting in reread.report
        if setting.value != old[setting.option.flag] and setting.option.flag in used
    )
