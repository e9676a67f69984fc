"""A store in another process of this machine: workers reach the sync process's store over a Unix socket.

``server`` gives a store to workers, ``client`` is the store that a worker sees. ``tide`` is a page of
shared memory in which the sync process counts its writes, so that a worker knows without asking whether
what it holds is still the truth. ``modes`` opens both ends.
"""

from ff_proxy.store.link.client import LinkStore
from ff_proxy.store.link.server import LinkServer
from ff_proxy.store.link.tide import Tide

__all__ = ["LinkServer", "LinkStore", "Tide"]
