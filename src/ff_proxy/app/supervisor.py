"""Several processes on one port: a supervisor, a sync process, and workers.

See spec/behaviour#upward-queues, spec/behaviour#shutdown.

The process that was started becomes the supervisor. It makes what all share, imports what all need, and
forks; it runs no loop and no thread, so that forking stays safe.
"""

import random
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from ff_proxy.app import sync, worker
from ff_proxy.app.options_reload import OptionsReload
from ff_proxy.app.process_setup import make_telemetry
from ff_proxy.app.run import bound_metrics, last_seconds
from ff_proxy.app.serving import bind_host, make_tls
from ff_proxy.app.shared_runtime import SharedRuntime, open_shared_runtime
from ff_proxy.app.worker import WorkerSlot
from ff_proxy.config.load import Loaded
from ff_proxy.config.records import OfflineOptions, OnlineOptions, RedisStoreOptions, ReplicaOptions
from ff_proxy.errors import ExitCode
from ff_proxy.http.sockets import Listening, bind_each, stop_listening
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.runtime.processes import forked_processes
from ff_proxy.runtime.supervisor import Child, Supervisor
from ff_proxy.telemetry import null_telemetry
from ff_proxy.telemetry.multiprocess import mark_dead

_Options = TypeVar("_Options", bound=OnlineOptions | OfflineOptions | ReplicaOptions)
_Run = Callable[[int], ExitCode]
# Workers are gone before the sync process is told: it takes what they hand over in the end.
_WORKERS: Final = 0
_SYNC: Final = 1


def run(loaded: Loaded) -> ExitCode:
    """Serve until a signal; raises ``FfProxyError`` if that cannot begin."""
    options = loaded.options
    assert isinstance(options, OnlineOptions | OfflineOptions | ReplicaOptions)  # noqa: S101  (as cli chose)
    clock = SystemClock()
    telemetry = make_telemetry(loaded, clock, process="supervisor")
    with ExitStack() as stack:
        common = stack.enter_context(open_shared_runtime(telemetry.logger("runtime")))
        # Unusable files are told once, by us; what else there is to say of them, by those who use them.
        make_tls(options.serving, clock, null_telemetry())
        shown = bound_metrics(options.serving)
        sockets = bind_each(options.serving.port, options.serving.workers, bind_host(options.serving))
        children = _children(options, common, sockets, shown)
        shutdown = options.serving.shutdown
        supervisor = Supervisor(
            children,
            stack.enter_context(forked_processes(OptionsReload(loaded, telemetry.logger("config")))),
            deadline=shutdown.deadline,
            reserve=last_seconds(shutdown),
            now=clock.monotonic,
            random=random.SystemRandom(),
            log=telemetry.logger("runtime"),
            bury=partial(mark_dead, common.metrics),
            leave=partial(_close, [one for each in sockets for one in each]),
        )
        return supervisor.run()


def _children(
    options: OnlineOptions | OfflineOptions | ReplicaOptions,
    common: SharedRuntime,
    sockets: Sequence[Listening],
    shown: socket.socket | None,
) -> list[Child]:
    """Every process of the mode, in the order in which they are started."""
    places = [WorkerSlot(f"worker-{number}", one, number == 1) for number, one in enumerate(sockets, 1)]
    shared = [*(one for each in sockets for one in each), *([shown] if shown is not None else [])]

    def worker_at(place: WorkerSlot, mine: Sequence[socket.socket | None], act: _Run) -> Child:
        alone = sockets.count(place.listening) == 1
        rest = partial(stop_listening, place.listening) if alone else None
        run_it = partial(_with_only, [*place.listening, *mine], shared, act)
        return Child(place.name, run_it, _WORKERS, rest)

    if isinstance(options, ReplicaOptions):
        # They need Redis and each other's port, and nobody else.
        from ff_proxy.app.redis_worker import run_replica  # noqa: PLC0415  (its client costs megabytes)

        replica = _shared_out(options)
        return [
            worker_at(
                place,
                [shown] if place.first else [],
                partial(run_replica, replica, common, place, shown),
            )
            for place in places
        ]
    act = _worker_on(options)
    sync_run = partial(_with_only, [shown], shared, partial(sync.run, options, common, shown))
    return [
        Child("sync", sync_run, _SYNC),
        *(worker_at(place, [], partial(act, common, place)) for place in places),
    ]


def _worker_on(
    options: OnlineOptions | OfflineOptions,
) -> Callable[[SharedRuntime, WorkerSlot, int], ExitCode]:
    """What a worker beside a sync process does: on Redis it needs that for little."""
    if isinstance(options, OnlineOptions) and isinstance(options.store, RedisStoreOptions):
        from ff_proxy.app import redis_worker  # noqa: PLC0415  (its client costs megabytes)

        return partial(redis_worker.run, _shared_out(options))
    return partial(worker.run, _shared_out(options))


def _shared_out(options: _Options) -> _Options:
    """The options of one worker: connections are divided among them."""
    limits = options.serving.limits
    if limits.max_connections is None:
        return options
    each = -(-limits.max_connections // options.serving.workers)
    serving = replace(options.serving, limits=replace(limits, max_connections=each))
    return replace(options, serving=serving)


def _with_only(
    mine: Sequence[socket.socket | None], everybodys: Sequence[socket.socket], act: _Run, pipe: int
) -> ExitCode:
    """Act in a child that has let go of what is not its own, and would stay open while the child lives."""
    _close(one for one in everybodys if one not in mine)
    return act(pipe)


def _close(sockets: Iterable[socket.socket]) -> None:
    for one in sockets:
        one.close()
