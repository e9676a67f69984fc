"""Figures: the results of several runs."""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Self

import msgspec


class Figure(msgspec.Struct, frozen=True):
    """The median of ``runs`` measurements, and the lowest and the highest of them."""

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """The figure of ``values`` (at least one)."""
        held = sorted(values)
        return cls(_rounded(statistics.median(held)), _rounded(held[0]), _rounded(held[-1]), len(held))

    @property
    def spread(self) -> float:
        """Half the distance between lowest and highest, as a share of the median."""
        return (self.high - self.low) / 2 / abs(self.median) if self.median else 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` (0 to 1) of ``values`` do not exceed."""
    held = sorted(values)
    return held[max(0, math.ceil(share * len(held)) - 1)]


def _rounded(value: float) -> float:
    # Six digits say more than any of this is worth, and keep the files readable.
    return float(f"{value:.6g}")
