"""A store in another process of this machine: workers reach the sync process's store over a Unix socket.

``server`` gives a store to workers, ``client`` is the store that a worker sees, over ``line``; ``state``
tells a worker how far both have come. ``tide`` is memory that they share, in which the sync process counts
its writes (``counted``), so that a worker knows without asking whether what it holds is still the truth.
``modes`` opens both ends.
"""

from ff_proxy.store.link.client import LinkStore
from ff_proxy.store.link.counted import CountedTargets
from ff_proxy.store.link.messages import State
from ff_proxy.store.link.server import LinkServer, Offer
from ff_proxy.store.link.state import LinkState
from ff_proxy.store.link.tide import Tide

__all__ = ["CountedTargets", "LinkServer", "LinkState", "LinkStore", "Offer", "State", "Tide"]
