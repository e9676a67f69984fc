"""One environment's OFREP streams: events say that something changed, not what (spec/behaviour#ofrep)."""

from collections.abc import Collection
from typing import Final

from ff_proxy.model.environment import Change, Domain
from ff_proxy.streams.channel import Channel
from ff_proxy.streams.event_log import OneWrite
from ff_proxy.streams.framing import chunk
from ff_proxy.streams.stream import Stream
from ff_proxy.wire.ofrep import refetch_record, revision_text

_ITEM: Final = (Domain.FLAG, "")
"""All changes count as one item, so a stream that lags gets one event."""


class RefetchChannel(Channel):
    """A channel that sends one kind of event for any change."""

    def catch_up(self, stream: Stream, seen: str) -> None:
        """Send an event at once if the client last saw a revision other than the current one."""
        if self.snapshot is not None and seen and seen != revision_text(self.snapshot.revision):
            stream.resync = OneWrite(chunk(refetch_record(self.snapshot.revision)))

    def _append(self, changes: Collection[Change], now: float) -> None:
        if changes and self.snapshot is not None:
            self.recent.append(_ITEM, chunk(refetch_record(self.snapshot.revision)), now)
