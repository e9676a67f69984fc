"""Every link of a proxy and every kind of trouble with it: how it is made, and what is promised meanwhile.

Of every cell it is promised that users are refused nothing, are taken back nothing and keep their streams,
that usage is counted once (twice where an answer may have been lost), and that soon all is in order. Each
cell says what readiness tells while it lasts, and whether changes arrive all the same.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from tests.chaos import client_faults as clients
from tests.chaos import directory_faults as directory
from tests.chaos import harness_faults as harness
from tests.chaos import store_faults as store
from tests.chaos.catalogue import REFUSED, RESET
from tests.chaos.fault import Begin, Fault, Touches
from tests.chaos.world import Form
from tests.support.relay import Accepting, Link

KINDS: Final = (
    "refused",
    "hangs",
    "slow",
    "reset",
    "half-open",
    "wrong status",
    "wrong body",
    "older state",
    "flapping",
    "full",
    "read-only",
)
"""The columns."""


class State(StrEnum):
    """What ``/health/ready`` says while it lasts; always with 200."""

    READY = "ready"
    DEGRADED = "degraded"
    EITHER = "either"


class Cell(msgspec.Struct, frozen=True):
    """One kind of trouble with one link.

    Attributes:
        form: how the proxy is run.
        begin: makes the trouble.
        touches: what it may cost.
        state: what readiness says; ``DEGRADED`` once it lasts for some seconds.
        changes: whether changes arrive while it lasts.
        quiet: whether nothing else changes from its beginning until all is in order.
    """

    link: str
    kind: str
    form: Form
    begin: Begin
    touches: Touches = Touches.NOTHING
    state: State = State.EITHER
    changes: bool = False
    quiet: bool = False

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.link}: {self.kind}"

    @property
    def fault(self) -> Fault:
        """As the driver takes it."""
        return Fault(self.name, self.begin, self.touches, frozenset({self.form}))


_IGNORED: Final = Link(accepting=Accepting.IGNORE)
_SLOW: Final = Link(delay=0.4)
_STALLED: Final = Link(stalled=True)
_TRICKLE: Final = Link(rate=2048)
_ROUTES: Final[Mapping[str, tuple[tuple[str, ...], State, bool]]] = {
    "Harness' authentication": (("auth", "stream"), State.DEGRADED, False),
    "Harness' keys": (("admin-keys",), State.EITHER, True),
    "Harness' flags": (("flags", "flag", "segments", "segment"), State.EITHER, False),
    "Harness' stream": (("stream",), State.DEGRADED, True),
    "Harness' usage": (("usage",), State.READY, True),
}
_ANSWERS: Final = Touches.ANSWERS
_WAITS: Final = Touches.STORE | Touches.ANSWERS
_LOSES: Final = _WAITS | Touches.EMPTIES


def _routes() -> Iterator[Cell]:
    for link, (routes, state, changes) in _ROUTES.items():
        # So that they are asked at all; usage is posted anyway.
        cut = routes != ("usage",)

        def made(kind: str, touches: Touches = Touches.NOTHING, **fields: object) -> Cell:
            begin = harness.answered(*routes, everywhere=True, cut=cut, **fields)  # noqa: B023  (used at once)
            return Cell(link, kind, Form.SQLITE, begin, touches, state, changes)  # noqa: B023

        # An answer that is late and right is no trouble that anybody has to be told of.
        yield msgspec.structs.replace(made("slow", delayMs=800), state=State.EITHER, changes=True)
        yield made("hangs", _ANSWERS, connection="hang")
        yield made("reset", _ANSWERS, connection="reset")
        yield made("wrong status", status=500)
        yield made("wrong status", status=503, retryAfter=1)
        yield made("wrong body", body="html")
        yield made("wrong body", _ANSWERS, body="truncated")
        if link != "Harness' usage":
            yield made("wrong body", body="garbage")
            yield made("wrong body", body="empty")
        flapping = harness.in_turns(harness.answered(*routes, everywhere=True, cut=cut, status=502))
        yield Cell(link, "flapping", Form.SQLITE, flapping, Touches.NOTHING, State.EITHER, changes=True)


def _harness() -> Iterator[Cell]:
    def made(kind: str, begin: Begin, state: State = State.DEGRADED, *, changes: bool = False) -> Cell:
        return Cell("Harness", kind, Form.MEMORY, begin, _ANSWERS, state, changes)

    yield made("refused", harness.linked(REFUSED, reset=True))
    yield made("reset", harness.linked(RESET, reset=True))
    yield made("hangs", harness.linked(_IGNORED, reset=True))
    yield made("half-open", harness.linked(_STALLED), State.EITHER)
    yield made("half-open", harness.half_closed, State.EITHER, changes=True)
    everything = {"everywhere": True, "cut": True}
    yield made("wrong status", harness.answered(*harness.ROUTES, status=500, **everything))
    yield made("full", harness.answered(*harness.ROUTES, status=429, retryAfter=1, **everything))
    yield made("slow", harness.linked(_SLOW), State.EITHER, changes=True)
    yield made("slow", harness.linked(_TRICKLE), State.EITHER)
    yield made("flapping", harness.linked(REFUSED, reset=True, turns=True), State.EITHER)
    early = Cell("Harness' flags", "older state", Form.MEMORY, harness.announced_early, quiet=True)
    yield msgspec.structs.replace(early, state=State.EITHER)
    yield made("half-open", harness.streams_muted, State.EITHER)
    yield made("wrong body", harness.streams_garbled(), State.EITHER, changes=True)


def _redis() -> Iterator[Cell]:
    def made(
        kind: str,
        begin: Begin,
        touches: Touches = _WAITS,
        state: State = State.DEGRADED,
        *,
        late: bool = True,
    ) -> Cell:
        return Cell("Redis", kind, Form.REDIS, begin, touches, state, changes=not late)

    yield made("refused", store.redis_linked(REFUSED, reset=True, everyone=True))
    yield made("reset", store.redis_linked(RESET, reset=True, everyone=True))
    yield made("hangs", store.redis_frozen())
    yield made("half-open", store.redis_linked(_STALLED, everyone=True))
    yield made("slow", store.redis_linked(Link(delay=0.1), everyone=True), _WAITS, State.EITHER)
    yield made("wrong status", store.redis_busy)
    yield made("wrong body", store.redis_replaced)
    yield made("older state", store.redis_older, _LOSES, State.EITHER)
    yield made("flapping", harness.in_turns(store.redis_clients_killed), _WAITS, State.EITHER)
    yield made("full", store.redis_configured("maxmemory", "1", "0"), _LOSES)
    yield made("read-only", store.redis_read_only)
    yield made("read-only", store.redis_configured("min-replicas-to-write", "9", "0"))


def _redis_forms() -> Iterator[Cell]:
    for link, form in (("Redis Cluster", Form.CLUSTER), ("Redis with Sentinel", Form.SENTINEL)):
        yield Cell(link, "hangs", form, store.redis_all_frozen, _WAITS, State.DEGRADED)
        yield Cell(link, "half-open", form, store.redis_frozen(0), _LOSES, State.EITHER)
        yield Cell(link, "refused", form, store.redis_restarted(0), _LOSES, State.EITHER)
        yield Cell(link, "reset", form, store.redis_clients_killed, _LOSES, State.EITHER)
        yield Cell(link, "full", form, store.redis_configured("maxmemory", "1", "0"), _LOSES, State.DEGRADED)
        yield Cell(link, "slow", form, store.redis_slow, _WAITS, State.EITHER)
        yield Cell(link, "wrong status", form, store.redis_busy, _LOSES, State.EITHER)
        yield Cell(link, "older state", form, store.redis_older, _LOSES, State.EITHER)
        flapping = harness.in_turns(store.redis_clients_killed)
        yield Cell(link, "flapping", form, flapping, _LOSES, State.EITHER)
        no_replicas = store.redis_configured("min-replicas-to-write", "9", "0")
        yield Cell(link, "read-only", form, no_replicas, _WAITS, State.DEGRADED)


def _disk() -> Iterator[Cell]:
    for form in (Form.SQLITE, Form.WORKERS):
        link = f"the data directory ({form})"
        yield Cell(link, "full", form, store.disk_full, _WAITS, State.EITHER, changes=True)
        yield Cell(link, "hangs", form, store.file_locked, _WAITS, State.EITHER, changes=False)
        flapping = harness.in_turns(store.file_locked)
        yield Cell(link, "flapping", form, flapping, _WAITS, State.EITHER, changes=True)
        yield Cell(link, "older state", form, store.file_removed, _WAITS, State.EITHER, changes=True)


def _clients() -> Iterator[Cell]:
    acts: Mapping[str, tuple[clients.Act, bool]] = {
        "hangs": (clients.half_a_head, False),
        "slow": (clients.a_byte_at_a_time, True),
        "half-open": (clients.half_a_body, False),
        "reset": (clients.reset_in_a_body, True),
        "full": (clients.unread_answers, True),
        "read-only": (clients.unread_streams, False),
        "flapping": (clients.hurried_streams, True),
        "wrong body": (clients.nonsense, True),
        "wrong status": (clients.wrong_tokens, True),
        "refused": (clients.unknown_keys, True),
    }
    for form in (Form.MEMORY, Form.WORKERS):
        for kind, (act, again) in acts.items():
            begin = clients.crowd(act, again=again)
            yield Cell(f"clients ({form})", kind, form, begin, state=State.READY, changes=True)


def _directory() -> Iterator[Cell]:
    def made(kind: str, begin: Begin, state: State = State.DEGRADED) -> Cell:
        return Cell("the offline directory", kind, Form.OFFLINE, begin, Touches.NOTHING, state)

    broken = directory.directory(directory.written(b'[{"feature": '))
    yield made("refused", directory.directory(directory.unreadable))
    yield made("hangs", directory.directory(directory.moved_away))
    yield made("half-open", directory.directory(directory.half_written))
    yield made("wrong body", broken)
    yield made("wrong body", directory.directory(directory.written(b"")))
    yield made("older state", directory.directory(directory.emptied))
    yield made("flapping", harness.in_turns(broken), State.EITHER)


CELLS: Final = tuple(
    cell for row in (_harness, _routes, _redis, _redis_forms, _disk, _clients, _directory) for cell in row()
)


def cells_of(form: Form) -> list[Cell]:
    """Those that a proxy of that form goes through, one after the other."""
    return [cell for cell in CELLS if cell.form is form]
