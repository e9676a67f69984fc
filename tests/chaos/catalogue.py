"""What the driver draws from."""

from collections.abc import Mapping
from typing import Final

from tests.chaos import harness_faults as harness
from tests.chaos import member_faults as member
from tests.chaos import store_faults as store
from tests.chaos.fault import Fault, Touches
from tests.chaos.world import Form
from tests.support.relay import Accepting, Link

_ONLINE: Final = frozenset(Form) - {Form.OFFLINE}
_FLEETS: Final = frozenset(form for form in Form if form.fleet)
_FILES: Final = frozenset({Form.SQLITE, Form.WORKERS})
_SINGLE: Final = frozenset({Form.REDIS})
_DELAYS: Final = Touches.STORE | Touches.ANSWERS
_EMPTIES: Final = _DELAYS | Touches.EMPTIES

LINKS: Final[Mapping[str, Link]] = {
    "slow": Link(delay=0.3),
    "throttled": Link(rate=4096),
    "stalled": Link(stalled=True),
    "unanswered": Link(silent=True),
    "cut after 3 kB": Link(cut_after=3000),
    "ignored": Link(accepting=Accepting.IGNORE),
}
"""Ways in which a connection can be bad without ending."""

REFUSED: Final = Link(accepting=Accepting.REFUSE)
RESET: Final = Link(accepting=Accepting.RESET)

FAULTS: Final = (
    Fault("Harness refused", harness.linked(REFUSED, reset=True), Touches.ANSWERS, _ONLINE),
    Fault("Harness reset", harness.linked(RESET, reset=True), Touches.ANSWERS, _ONLINE),
    *(
        Fault(f"Harness {name}", harness.linked(link), Touches.ANSWERS, _ONLINE)
        for name, link in LINKS.items()
    ),
    Fault("Harness half closed", harness.half_closed, Touches.ANSWERS, _ONLINE),
    Fault("Harness gone", harness.gone, Touches.ANSWERS, _ONLINE),
    Fault("Harness 500", harness.answered(status=500), forms=_ONLINE),
    Fault("Harness 502", harness.answered(status=502, body="html"), forms=_ONLINE),
    Fault("Harness 429", harness.answered(status=429, retryAfter=1), forms=_ONLINE),
    Fault("Harness page", harness.answered(body="html"), forms=_ONLINE),
    Fault("Harness garbage", harness.answered(*harness.READS, body="garbage"), forms=_ONLINE),
    Fault("Harness empty", harness.answered(*harness.READS, body="empty"), forms=_ONLINE),
    Fault("Harness cut short", harness.answered(body="truncated"), Touches.ANSWERS, _ONLINE),
    Fault("Harness hangs", harness.answered(connection="hang"), Touches.ANSWERS, _ONLINE),
    Fault("Harness late", harness.answered(delayMs=700), forms=_ONLINE),
    Fault("streams cut", harness.streams_cut, forms=_ONLINE),
    Fault("streams garbled", harness.streams_garbled(), forms=_ONLINE),
    Fault("member killed", member.killed, Touches.PROCESSES | Touches.LIVES | Touches.ANSWERS),
    Fault("member restarted", member.restarted, Touches.LIVES | Touches.ANSWERS),
    Fault("member frozen", member.frozen, Touches.ANSWERS),
    Fault(
        "process killed",
        member.process_killed,
        Touches.PROCESSES | Touches.ANSWERS,
        frozenset({Form.WORKERS}),
    ),
    Fault("disk full", store.disk_full, Touches.STORE, _FILES),
    Fault("disk locked", store.file_locked, Touches.STORE, _FILES),
    Fault("Redis refused", store.redis_linked(REFUSED, reset=True), _DELAYS, _SINGLE),
    Fault("Redis reset", store.redis_linked(RESET, reset=True), _DELAYS, _SINGLE),
    *(Fault(f"Redis {name}", store.redis_linked(link), _DELAYS, _SINGLE) for name, link in LINKS.items()),
    Fault("Redis unheard", store.redis_unheard, Touches.NOTHING, _SINGLE),
    Fault("Redis replaced", store.redis_replaced, _DELAYS, _SINGLE),
    Fault("Redis frozen", store.redis_frozen(), _DELAYS, _FLEETS),
    Fault("Redis restarted", store.redis_restarted(), _EMPTIES, _FLEETS),
    Fault("Redis flushed", store.redis_flushed, _EMPTIES, _FLEETS),
    Fault("Redis older", store.redis_older, _EMPTIES, _SINGLE),
    Fault("Redis full", store.redis_configured("maxmemory", "1", "0"), _EMPTIES, _FLEETS),
    Fault("Redis read-only", store.redis_read_only, _DELAYS, _SINGLE),
    Fault("Redis busy", store.redis_busy, _DELAYS, _SINGLE),
    Fault(
        "Redis without replicas", store.redis_configured("min-replicas-to-write", "9", "0"), _DELAYS, _FLEETS
    ),
    Fault("Redis clients killed", store.redis_clients_killed, Touches.ANSWERS, _FLEETS),
)


def of(form: Form) -> list[Fault]:
    """Those that a form can have."""
    return [fault for fault in FAULTS if form in fault.forms]
