"""An environment's OFREP streams: they are told that something changed, not what (spec/behaviour#ofrep)."""

from collections.abc import Collection
from typing import Final

from ff_proxy.model.environment import Change, Domain
from ff_proxy.streams.channel import Channel
from ff_proxy.streams.event_log import OneWrite
from ff_proxy.streams.framing import chunk
from ff_proxy.streams.stream import Stream
from ff_proxy.wire.ofrep import refetch_record, revision_text

_ITEM: Final = (Domain.FLAG, "")
"""All changes are one item: whoever is behind fetches once."""


class RefetchChannel(Channel):
    """The same streams with one event for whatever has changed."""

    def catch_up(self, stream: Stream, seen: str) -> None:
        """Send an event at once to a client that last saw another revision than the present one."""
        if self.snapshot is not None and seen and seen != revision_text(self.snapshot.revision):
            stream.resync = OneWrite(chunk(refetch_record(self.snapshot.revision)))

    def _append(self, changes: Collection[Change], now: float) -> None:
        if changes and self.snapshot is not None:
            self.recent.append(_ITEM, chunk(refetch_record(self.snapshot.revision)), now)
