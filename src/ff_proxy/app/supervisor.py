"""Several processes on one port: a supervisor, a sync process, and workers.

See spec/behaviour#upward-queues, spec/behaviour#shutdown.

The first process becomes the supervisor. It creates what the processes share, imports what they need, and
forks. It runs no event loop and no threads, so that forking is safe.
"""

import random
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from ff_proxy.app.build import import_modules
from ff_proxy.app.listening import bind_admin, bind_metrics
from ff_proxy.app.observability import make_telemetry, set_levels, share_lines
from ff_proxy.app.options_reload import APPLIED, LOG_FLAGS, TLS_FLAGS, OptionsReload, in_other_processes
from ff_proxy.app.process import last_step_seconds
from ff_proxy.app.roles import (
    ChildRole,
    RedisWorker,
    ReplicaWorker,
    Sync,
    Worker,
    WorkerRole,
    WorkerSlot,
)
from ff_proxy.app.run import run_child
from ff_proxy.app.serving_changes import divided
from ff_proxy.app.shared_runtime import SharedRuntime, open_shared_runtime
from ff_proxy.app.tls import check_tls, make_tls, tls_changes, tls_files
from ff_proxy.config.load import Loaded
from ff_proxy.config.records import (
    OnlineOptions,
    ProxyOptions,
    RedisStoreOptions,
    ReplicaOptions,
)
from ff_proxy.errors import ExitCode
from ff_proxy.http.sockets import Listening, bind_each, stop_listening
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.runtime.early_signals import signals_deferred
from ff_proxy.runtime.processes import forked_processes
from ff_proxy.runtime.supervisor import Child, Supervisor
from ff_proxy.telemetry import null_telemetry
from ff_proxy.telemetry.multiprocess import mark_dead

_Options = TypeVar("_Options", bound=ProxyOptions)
# Workers end before the sync process, which receives their last data.
_WORKERS: Final = 0
_SYNC: Final = 1


def supervise(loaded: Loaded) -> ExitCode:
    """Run until a signal; raises ``FfProxyError`` if the proxy cannot start."""
    options = loaded.options
    assert isinstance(options, ProxyOptions)  # noqa: S101  (they have workers)
    clock = SystemClock()
    telemetry = make_telemetry(loaded, clock, process="supervisor")
    with ExitStack() as stack:
        stack.callback(telemetry.drain_log)
        runtime = stack.enter_context(open_shared_runtime(telemetry.logger("runtime")))
        share_lines(telemetry, runtime, "supervisor")
        # Unusable files are reported once, here; everything else about them by the workers.
        make_tls(tls_files(options.serving.tls), clock, null_telemetry())
        metrics = bind_metrics(options.serving)
        admin = bind_admin(loaded, telemetry.logger("config"))
        sockets = bind_each(options.serving.port, options.serving.workers, options.serving.host or "")
        roles = child_roles(options, runtime, sockets, metrics, admin)
        with signals_deferred():
            for role in roles:
                import_modules(role)
        reload = OptionsReload(loaded, telemetry.logger("config"), [check_tls(clock)])
        reload.add(LOG_FLAGS, partial(set_levels, telemetry))
        reload.add(APPLIED, in_other_processes)
        reload.add(TLS_FLAGS, tls_changes(options.serving))
        shutdown = options.serving.shutdown
        supervisor = Supervisor(
            make_children(roles, reload),
            stack.enter_context(forked_processes(reload)),
            deadline=shutdown.deadline,
            reserve=last_step_seconds(shutdown),
            now=clock.monotonic,
            random=random.SystemRandom(),
            log=telemetry.logger("runtime"),
            on_exit=partial(mark_dead, runtime.metrics),
            on_shutdown=partial(_close, [one for each in sockets for one in each]),
        )
        return supervisor.run()


def child_roles(
    options: ProxyOptions,
    runtime: SharedRuntime,
    sockets: Sequence[Listening],
    metrics: socket.socket | None,
    admin: Listening | None = None,
) -> list[ChildRole]:
    """The roles of all processes, in starting order."""
    slots = [WorkerSlot(f"worker-{number}", one, number == 1) for number, one in enumerate(sockets, 1)]
    own = _divided(options)
    if isinstance(own, ReplicaOptions):
        first, *others = slots
        rest = [ReplicaWorker(own, runtime, slot, None) for slot in others]
        return [ReplicaWorker(own, runtime, first, metrics, admin), *rest]
    workers: list[WorkerRole]
    if isinstance(own, OnlineOptions) and isinstance(own.store, RedisStoreOptions):
        workers = [RedisWorker(own, own.store, runtime, slot) for slot in slots]
    else:
        workers = [Worker(own, runtime, slot) for slot in slots]
    assert not isinstance(options, ReplicaOptions)  # noqa: S101  (as `own`)
    return [Sync(options, runtime, metrics, admin), *workers]


def make_children(roles: Sequence[ChildRole], reload: OptionsReload) -> list[Child]:
    """How to start each of these processes; each closes the sockets that only others use."""
    sockets = [one for role in roles for one in _sockets(role)]
    return [
        Child(
            role.name,
            partial(_run_with_own_sockets, role, reload, sockets),
            _SYNC if isinstance(role, Sync) else _WORKERS,
            _stop_listening(role, sockets),
        )
        for role in roles
    ]


def _sockets(role: ChildRole) -> list[socket.socket]:
    listening = [] if isinstance(role, Sync) else list(role.slot.listening)
    if isinstance(role, Sync | ReplicaWorker):
        if role.metrics is not None:
            listening.append(role.metrics)
        if role.admin is not None:
            listening += role.admin
    return listening


def _run_with_own_sockets(
    role: ChildRole, reload: OptionsReload, sockets: Iterable[socket.socket], pipe: int
) -> ExitCode:
    # An inherited socket would stay open for as long as this child lives.
    own = _sockets(role)
    _close(one for one in sockets if one not in own)
    return run_child(role, reload, pipe)


def _stop_listening(role: ChildRole, sockets: Sequence[socket.socket]) -> Callable[[], None] | None:
    """How to refuse connections while a worker is down, unless other workers share its socket."""
    if isinstance(role, Sync) or any(sockets.count(one) > 1 for one in role.slot.listening):
        return None
    return partial(stop_listening, role.slot.listening)


def _divided(options: _Options) -> _Options:
    """The options of one worker; the connection limit is divided among workers."""
    serving = options.serving
    return replace(options, serving=replace(serving, limits=divided(serving.limits, serving.workers)))


def _close(sockets: Iterable[socket.socket]) -> None:
    for one in sockets:
        one.close()
