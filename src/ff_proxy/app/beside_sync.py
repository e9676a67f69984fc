"""The backend of a worker: the sync process's store, reached over a Unix socket."""

from contextlib import AsyncExitStack
from typing import Final

from ff_proxy.api.ports import LoadedEnvironments
from ff_proxy.app.backend import Backend, Source
from ff_proxy.app.process import ProcessContext
from ff_proxy.app.roles import Worker
from ff_proxy.ipc import IpcStore, SharedGenerations, SyncState
from ff_proxy.ipc.generation_freshness import GenerationFreshness

# A dead sync process is restarted at once.
_RECONNECT_SECONDS: Final = 0.1


async def open_beside_sync(role: Worker, context: ProcessContext, stack: AsyncExitStack) -> Backend[IpcStore]:
    """Open the sync process's store."""
    runtime = role.runtime
    store = await stack.enter_async_context(
        IpcStore(
            runtime.socket, runtime.generations, context.clock, context.shares, context.telemetry.dropped
        )
    )

    def follow(loaded: LoadedEnvironments) -> Source:
        return sync_source(store, loaded, runtime.generations, context)

    return Backend(
        store=store,
        freshness=lambda snapshots: GenerationFreshness(runtime.generations, snapshots),
        follow=follow,
        retry=_RECONNECT_SECONDS,
    )


def sync_source(
    store: IpcStore, loaded: LoadedEnvironments, shared: SharedGenerations, context: ProcessContext
) -> Source:
    """The sync process as a source."""
    state = SyncState(store, lambda: loaded.names, shared, context.clock)
    return Source(
        services=[state],
        readiness=state.readiness,
        environments=state.environments,
        settled=state.settled,
        key_checker=store,
        first_steps=[state.poll],
    )
