"""Numbers and tables as the page shows them, with meaningful digits only."""

import math
from collections.abc import Iterable, Sequence

from bench.common.tables import lines_of


def number(value: float) -> str:
    """Two significant digits: 1,200 or 0.034."""
    if math.isinf(value):
        return "any number"
    if value == int(value) and abs(value) < 100:
        return f"{value:.0f}"
    digits = 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    # 0.999 has become 1.00: one digit less.
    digits = 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:,.{max(0, digits)}f}"


def seconds(value: float) -> str:
    """A time: 35 ms, 1.2 s or 63 s."""
    if value < 0.0995:
        return f"{number(value * 1e3)} ms" if value >= 0.0001 else "0 ms"
    return f"{value:.1f} s" if value < 9.95 else f"{value:,.0f} s"


def micros(value: float) -> str:
    """Seconds, in microseconds."""
    return f"{number(value * 1e6)} µs"


def size(value: float) -> str:
    """Bytes: 640 bytes, 12 kB, 1.4 MB or 3 GB."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= factor * 0.95:
            return f"{number(value / factor)} {unit}"
    return f"{value:.0f} bytes"


def share(value: float) -> str:
    """A part of the whole, in per cent."""
    if 0 < value < 0.01:
        return "< 1 %"
    return f"{value * 100:,.0f} %"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; the first column is text, the others are figures."""
    rule = ["---", *("---:" for _ in headings[1:])]
    return "\n".join(lines_of([headings, rule, *rows]))
