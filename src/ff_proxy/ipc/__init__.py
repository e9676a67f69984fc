"""Inter-process communication: workers use the sync process's store over a Unix socket.

``server`` serves the store to workers; ``store`` is the worker's side, over one ``client`` connection;
``sync_state`` tracks the progress of both. ``shared_generations`` are counters in shared memory that the sync
process increments with each write (``counted_targets``), so that a worker knows without a request whether its
data is current. Only ``app`` may import this room.
"""

from ff_proxy.ipc.counted_targets import CountedTargets
from ff_proxy.ipc.messages import State
from ff_proxy.ipc.server import IpcServer, WorkerServices
from ff_proxy.ipc.shared_generations import SharedGenerations
from ff_proxy.ipc.store import IpcStore
from ff_proxy.ipc.sync_state import SyncState

__all__ = [
    "CountedTargets",
    "IpcServer",
    "IpcStore",
    "SharedGenerations",
    "State",
    "SyncState",
    "WorkerServices",
]
