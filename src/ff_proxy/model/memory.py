"""How ``memory-budget`` is divided among what clients can fill (spec/behaviour#byte-bounds)."""

from typing import Final

import msgspec

MEBIBYTE: Final = 1024 * 1024
LEAST_BUDGET: Final = 256 * MEBIBYTE
"""The least ``memory-budget`` of a proxy: with less, caches would be too small to be of use."""

_HUNDREDTHS: Final = 100


class MemoryShares(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes for each kind of thing that clients can make the process keep. Together they are the budget.

    The defaults are hundredths of it; ``shares_of`` makes bytes of them.

    ``responses``: answers kept to be given again.
    ``evaluations``: lists of evaluations by target.
    ``targets``: descriptions of targets, kept or cached.
    ``tokens``: tokens seen.
    ``routes``: paths and header lines seen.
    ``pending_writes``: what waits for a store that is away.
    ``usage_buffer``: counts on their way into the store.
    ``usage_queue``: counts on their way to Harness.
    ``usage_tally``: sums of what Harness has, by flag.
    ``registrations``: targets on their way to Harness.
    ``keys``: keys that were refused.
    ``events``: what SDKs have fetched already, for when their streams come back.
    ``bodies``: request bodies that are being read.
    ``unsent``: responses that clients have not taken yet.
    """

    responses: int = 15
    evaluations: int = 8
    targets: int = 18
    tokens: int = 5
    routes: int = 2
    pending_writes: int = 4
    usage_buffer: int = 8
    usage_queue: int = 16
    usage_tally: int = 1
    registrations: int = 3
    keys: int = 1
    events: int = 4
    bodies: int = 8
    unsent: int = 7


def shares_of(budget: int) -> MemoryShares:
    """Divide ``budget`` bytes."""
    parts = msgspec.structs.asdict(MemoryShares())
    return MemoryShares(**{name: budget * part // _HUNDREDTHS for name, part in parts.items()})


LEAST_SHARES: Final = shares_of(LEAST_BUDGET)
"""What the smallest budget gives: for tests and tools."""
