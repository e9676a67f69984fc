"""The roles of a process: one frozen record per role, with only what that role needs."""

import socket
from dataclasses import dataclass

from ff_proxy.app.shared_runtime import SharedRuntime
from ff_proxy.config.load import Loaded
from ff_proxy.config.records import (
    GenerateOptions,
    OfflineOptions,
    OnlineOptions,
    ProxyOptions,
    RedisStoreOptions,
    ReplicaOptions,
    RoleOptions,
)
from ff_proxy.http.sockets import Listening


@dataclass(frozen=True, slots=True)
class WorkerSlot:
    """The name and sockets of a worker; the ``first`` one reports for all of them."""

    name: str
    listening: Listening
    first: bool


@dataclass(frozen=True, slots=True)
class Single:
    """The only process: follows Harness, a directory or a shared Redis, and serves SDKs."""

    options: ProxyOptions


@dataclass(frozen=True, slots=True)
class Generate:
    """Fetches everything once, writes the offline directory, and exits."""

    options: GenerateOptions


@dataclass(frozen=True, slots=True)
class Sync:
    """Follows Harness or a directory for several workers.

    Serves the metrics port on ``metrics`` and the admin address on ``admin``, if set.
    """

    options: OnlineOptions | OfflineOptions
    runtime: SharedRuntime
    metrics: socket.socket | None
    admin: Listening | None = None

    @property
    def name(self) -> str:
        """The name of this process in logs and metrics."""
        return "sync"


class _Slotted:
    """A worker that is named after its slot."""

    __slots__ = ()
    slot: WorkerSlot

    @property
    def name(self) -> str:
        """The name of this process in logs and metrics."""
        return self.slot.name


@dataclass(frozen=True, slots=True)
class Worker(_Slotted):
    """Serves SDKs from the sync process's store."""

    options: OnlineOptions | OfflineOptions
    runtime: SharedRuntime
    slot: WorkerSlot


@dataclass(frozen=True, slots=True)
class RedisWorker(_Slotted):
    """Serves SDKs from Redis, beside a sync process that writes to it."""

    options: OnlineOptions
    store: RedisStoreOptions
    runtime: SharedRuntime
    slot: WorkerSlot


@dataclass(frozen=True, slots=True)
class ReplicaWorker(_Slotted):
    """One of several replicas.

    The first one serves the metrics port on ``metrics`` and the admin address on ``admin``, if set.
    """

    options: ReplicaOptions
    runtime: SharedRuntime
    slot: WorkerSlot
    metrics: socket.socket | None
    admin: Listening | None = None


SingleRole = Single | Generate
"""Roles of a single process."""

WorkerRole = Worker | RedisWorker | ReplicaWorker
"""Roles of processes that share a port."""

ChildRole = Sync | WorkerRole
"""Roles of processes that a supervisor starts."""

ServingRole = Single | WorkerRole
"""Roles of processes that serve SDKs."""


def single_role(loaded: Loaded) -> SingleRole:
    """The role of a single process with these options."""
    options: RoleOptions = loaded.options
    return Generate(options) if isinstance(options, GenerateOptions) else Single(options)
