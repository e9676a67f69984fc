"""The backend of offline mode: a directory that is watched for edits."""

from contextlib import AsyncExitStack

from ff_proxy.api.ports import AlwaysFresh, LoadedEnvironments, LoadedKeys
from ff_proxy.app.backend import Backend, Facets, Source
from ff_proxy.app.process import ProcessContext
from ff_proxy.app.shared_runtime import SharedRuntime
from ff_proxy.app.store import open_store, recovery_of
from ff_proxy.config.records import MemoryStoreOptions, OfflineOptions, SqliteStoreOptions
from ff_proxy.ipc import CountedTargets
from ff_proxy.model.readiness import Readiness
from ff_proxy.offline.watcher import OfflineWatcher
from ff_proxy.store.protocol import StoreFacets


async def open_directory(
    options: OfflineOptions,
    context: ProcessContext,
    stack: AsyncExitStack,
    *,
    runtime: SharedRuntime | None = None,
) -> Backend[StoreFacets]:
    """Read the directory, with ``runtime`` for its workers; raises ``OfflineDataError``.

    Environments come from the directory; the secret and targets persist in the configured store
    (spec/behaviour#combinations).
    """
    # Keep versions in a file, so that they do not decrease for workers when the sync process is restarted.
    place = MemoryStoreOptions() if runtime is None else SqliteStoreOptions(directory=runtime.directory)
    environments = await stack.enter_async_context(open_store(place, context, namespace="directory"))
    kept = await stack.enter_async_context(
        open_store(options.store, context, namespace="offline", runtime=runtime)
    )
    targets = kept.targets if runtime is None else CountedTargets(kept.targets, runtime.generations)
    watcher = OfflineWatcher(
        options.config_dir,
        environments.configs,
        targets,
        context.clock,
        context.telemetry,
        grace=options.grace,
    )
    names = await environments.configs.environments()
    before = [one for name in names if (one := await environments.configs.environment(name)) is not None]
    if before:
        watcher.resume(before)
    else:
        await watcher.load()
    recovery = [*recovery_of(kept), *recovery_of(environments)]

    def follow(loaded: LoadedEnvironments) -> Source:
        def readiness() -> Readiness:
            state = Readiness(loaded=len(loaded.names), degraded=watcher.degraded)
            for one in recovery:
                state = one.merge_into(state)
            return state

        return Source(
            services=[watcher, *recovery],
            readiness=readiness,
            environments=tuple,  # like the Go proxy: /health lists streams, and offline has none
            key_checker=LoadedKeys(loaded),
            expected=lambda: loaded.names,
        )

    return Backend(
        store=Facets(
            environments.configs, targets, environments.usage, environments.registrations, kept.secrets
        ),
        freshness=lambda _: AlwaysFresh(),
        follow=follow,
        loaded=True,
    )
