"""Usage as pages and API show it: what this proxy has sent to Harness, and why that may not be all."""

from collections.abc import Iterable, Sequence

import msgspec

from ff_proxy.admin.fleet import Leader
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import SentUsage
from ff_proxy.usage.tally import UsageTally


class UsageRow(msgspec.Struct, frozen=True, rename="camel"):
    """Evaluations of a flag to one variation that this proxy has sent to Harness."""

    flag: str
    variation: str
    last_hour: int
    since_start: int


class UsageView(msgspec.Struct, frozen=True, rename="camel"):
    """The usage that this proxy has sent to Harness.

    ``since`` is when counting began, in seconds since the epoch; ``None`` if the proxy sends nothing.
    ``note`` says which member sends if this one does not. If not ``complete``, some rows were evicted.
    """

    rows: tuple[UsageRow, ...] = ()
    since: float | None = None
    complete: bool = True
    note: str = ""


def usage_view(
    sent: UsageTally | None,
    silent: str,
    environment: EnvironmentId,
    leader: Leader | None,
    flag: str | None = None,
) -> UsageView:
    """The usage sent for the environment, or for one flag; ``silent`` says why there is no ``sent``."""
    if sent is None:
        return UsageView(note=" ".join(filter(None, (silent, _who_sends(leader)))))
    found = [one for one in sent.of(environment) if flag in {None, one.flag}]
    note = _who_sends(leader)
    return UsageView(tuple(_sorted(found)), sent.since, sent.complete, note)


def _who_sends(leader: Leader | None) -> str:
    """A note about which other member sends the environment's usage; empty if this one does."""
    if leader is None or leader.this_proxy:
        return ""
    if not leader.id:
        return "This environment has no leader at the moment: usage waits in Redis."
    who = f"{leader.host} ({leader.address})" if leader.host else "Another member"
    return f"{who} leads this environment now and sends its usage."


def _sorted(found: Iterable[SentUsage]) -> Sequence[UsageRow]:
    """Sort by use: the most used flags first, and within each the most served variations."""
    rows = list(found)
    totals: dict[str, tuple[int, int]] = {}
    for one in rows:
        hour, total = totals.get(one.flag, (0, 0))
        totals[one.flag] = (hour + one.last_hour, total + one.total)

    def place(one: SentUsage) -> tuple[int, int, str, int, int, str]:
        hour, total = totals[one.flag]
        return -hour, -total, one.flag, -one.last_hour, -one.total, one.variation

    return [UsageRow(one.flag, one.variation, one.last_hour, one.total) for one in sorted(rows, key=place)]
