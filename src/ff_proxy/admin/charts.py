"""Small line charts as SVG geometry; templates draw them."""

from dataclasses import dataclass
from typing import Final

from ff_proxy.admin.metrics import Series

WIDTH: Final = 320
HEIGHT: Final = 72
_HOUR: Final = 3600.0
_PAD: Final = 4


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart: ``line`` and ``area`` are SVG path data, ``label`` says the same in words."""

    name: str
    unit: str
    value: str
    highest: str
    line: str
    area: str
    label: str


def draw(series: Series) -> Chart:
    """The chart of the last hour of ``series``."""
    values = [value for _, value in series.points]
    top = max(values, default=0.0)
    value = "no data yet" if series.last is None else short_number(series.last)
    label = f"{series.name}, {series.unit}, last hour: now {value}, highest {short_number(top)}"
    if not series.points:
        return Chart(series.name, series.unit, "-", "-", "", "", f"{series.name}: no data yet")
    scale = top or 1.0
    places = [
        (
            WIDTH * max(0.0, 1 - age / _HOUR),
            HEIGHT - _PAD - (HEIGHT - 2 * _PAD) * one / scale,
        )
        for age, one in series.points
    ]
    line = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    area = f"{line} L{places[-1][0]:.1f} {HEIGHT} L{places[0][0]:.1f} {HEIGHT} Z"
    return Chart(series.name, series.unit, value, short_number(top), line, area, label)


def short_number(value: float) -> str:
    """A short, readable number: ``0.25``, ``12``, ``3,400``."""
    if value == int(value) or value >= 100:  # noqa: PLR2004  (fractions do not matter from here on)
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"  # noqa: PLR2004  (three digits)
