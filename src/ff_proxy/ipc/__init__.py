"""A store in another process of this machine: workers reach the sync process's store over a Unix socket.

``server`` gives a store to workers. ``store`` is what a worker sees of it, over one ``client`` connection;
``sync_state`` says how far the sync process and the worker are. ``shared_generations`` are counters in
shared memory that the sync process bumps with each write (``counted_targets``), so that a worker knows
without asking whether what it holds is still current. Only ``app`` imports this room.
"""

from ff_proxy.ipc.counted_targets import CountedTargets
from ff_proxy.ipc.messages import State
from ff_proxy.ipc.server import IpcServer, Offer
from ff_proxy.ipc.shared_generations import SharedGenerations
from ff_proxy.ipc.store import IpcStore
from ff_proxy.ipc.sync_state import SyncState

__all__ = ["CountedTargets", "IpcServer", "IpcStore", "Offer", "SharedGenerations", "State", "SyncState"]
