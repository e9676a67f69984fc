"""The templates, and the formats of numbers and times in them."""

from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_KIBI: Final = 1024


def make_templates() -> Environment:
    """The templates; all values are escaped."""
    templates = Environment(
        loader=PackageLoader("ff_proxy.admin"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    templates.filters.update(
        seconds=seconds_text, clock=clock_text, bytes=bytes_text, segment=lambda text: quote(text, safe="")
    )
    return templates


def seconds_text(seconds: float | None) -> str:
    """A duration: ``12 s``, ``3 min``, ``5 h 12 min``, ``3 d 4 h``."""
    if seconds is None:
        return "-"
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def clock_text(at: float | None) -> str:
    """A date and time in UTC."""
    return "-" if not at else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def bytes_text(size: float) -> str:
    """A size: ``512 B``, ``4.0 KiB``, ``48 MiB``."""
    for unit in ("B", "KiB", "MiB"):
        if size < _KIBI:
            return f"{size:.0f} {unit}" if unit in {"B", "MiB"} else f"{size:.1f} {unit}"
        size /= _KIBI
    return f"{size:.1f} GiB"
