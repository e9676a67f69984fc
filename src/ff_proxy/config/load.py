"""From command line and environment to one mode's record: the entry of this room."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ff_proxy.config import validation
from ff_proxy.config.build import build
from ff_proxy.config.records import ModeOptions
from ff_proxy.config.settings import Setting, Settings, read_settings
from ff_proxy.config.sources import ReadFile
from ff_proxy.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Loaded:
    """Usable options: the mode's record, warnings to be logged once there is a log, every value's source."""

    options: ModeOptions
    warnings: tuple[str, ...]
    report: tuple[Setting, ...]


def load(argv: Sequence[str], environ: Mapping[str, str], read_file: ReadFile = Path.read_bytes) -> Loaded:
    """Read all sources (PRODUCT §2) and make the record of the mode that they choose.

    Pure but for reading the files that ``-env-file`` and ``-config`` name. Raises ``ConfigError`` with every
    problem there is.
    """
    return checked(read_settings(argv, environ, read_file))


def checked(settings: Settings) -> Loaded:
    """As ``load``, for settings that have been read already."""
    problems = (*settings.problems, *validation.problems(settings))
    if problems:
        raise ConfigError(*problems)
    return Loaded(build(settings), tuple(validation.warnings(settings)), tuple(settings))
