"""Faults on demand: answers that are late, wrong, cut short or missing."""

from enum import StrEnum
from typing import Final, Literal

import msgspec

from ff_proxy.errors import RequestError

EVERY_ROUTE: Final = "*"


class RouteName(StrEnum):
    """The routes of clients, by their names in faults and counters."""

    AUTH = "auth"
    FLAGS = "flags"
    FLAG = "flag"
    SEGMENTS = "segments"
    SEGMENT = "segment"
    EVALUATIONS = "evaluations"
    EVALUATION = "evaluation"
    STREAM = "stream"
    USAGE = "usage"
    ADMIN_KEYS = "admin-keys"
    ADMIN_TARGETS = "admin-targets"


class Fault(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What happens to a request instead of, or before, its answer.

    ``route`` is a ``RouteName`` or ``*``; ``environment`` (id or identifier) narrows it. The first
    ``skip`` matching requests pass untouched, then ``count`` are hit (``None``: until cleared).
    ``delay_ms`` comes first. ``connection`` then resets (RST) or hangs it. Otherwise ``body`` says what is
    sent: ``error`` (Harness's JSON error, with ``status``), ``empty``, ``html``, ``garbage`` (JSON that ends
    mid-way, complete as HTTP), ``truncated`` (the real answer, cut off by closing the connection).
    ``retry_after`` (seconds) goes out as a header. A fault with a delay alone answers as usual afterwards.
    """

    route: str = EVERY_ROUTE
    environment: str = ""
    skip: int = 0
    count: int | None = None
    delay_ms: int = 0
    connection: Literal["", "reset", "hang"] = ""
    status: int = 0
    body: Literal["", "error", "empty", "html", "garbage", "truncated"] = ""
    retry_after: int | None = None

    def __post_init__(self) -> None:
        """Raise ``RequestError`` 400 for invalid values."""
        if self.route != EVERY_ROUTE and self.route not in set(RouteName):
            raise RequestError(400, f"no route {self.route!r}; there are *, {', '.join(RouteName)}")
        if self.status and not 200 <= self.status <= 599:  # noqa: PLR2004  (what HTTP can carry as an answer)
            raise RequestError(400, f"status {self.status} is not one of 200 to 599")
        if self.skip < 0 or self.delay_ms < 0 or (self.count is not None and self.count < 1):
            raise RequestError(400, "skip and delayMs are at least 0, count at least 1")
        if self.body == "error" and not self.status:
            raise RequestError(400, "an error needs a status")

    @property
    def answers(self) -> bool:
        """Whether it replaces the real answer."""
        return bool(self.status or self.body)


class _Armed:
    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.to_skip = fault.skip
        self.left = fault.count

    def spent(self) -> bool:
        return self.left == 0


class Faults:
    """The active faults, in order of addition; the first that matches a request applies to it."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []

    def add(self, fault: Fault) -> None:
        """Activate a fault."""
        self._armed.append(_Armed(fault))

    def take(self, route: RouteName, environments: frozenset[str]) -> Fault | None:
        """The fault for a request to ``route``; ``environments`` are the names of its environment."""
        hit: Fault | None = None
        for armed in self._armed:
            fault = armed.fault
            if fault.route not in {EVERY_ROUTE, route}:
                continue
            if fault.environment and fault.environment not in environments:
                continue
            if armed.to_skip:
                armed.to_skip -= 1
                continue
            if armed.left is not None:
                armed.left -= 1
            hit = fault
            break
        self._armed = [armed for armed in self._armed if not armed.spent()]
        return hit

    def listing(self) -> list[Fault]:
        """The active faults, with the remaining counts."""
        return [
            msgspec.structs.replace(armed.fault, skip=armed.to_skip, count=armed.left)
            for armed in self._armed
        ]

    def clear(self, route: str | None = None) -> None:
        """Clear every fault, or those that were added for ``route``."""
        self._armed = [] if route is None else [armed for armed in self._armed if armed.fault.route != route]
