"""Offline: serve a directory, stream its edits, send nothing to anybody."""

from contextlib import AsyncExitStack
from functools import partial

from ff_proxy.api.ports import AlwaysFresh, HeldKeys
from ff_proxy.app.memory import memory_shares
from ff_proxy.app.options_reload import OptionsReload
from ff_proxy.app.process_setup import make_telemetry
from ff_proxy.app.run import serve
from ff_proxy.app.secrets import awaited_secret, derived_secrets
from ff_proxy.app.serving import Needs, compile_options, make_serving
from ff_proxy.app.stores import open_store, recovery_of
from ff_proxy.config.load import Loaded
from ff_proxy.config.records import OfflineOptions
from ff_proxy.errors import ExitCode
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.readiness import Readiness
from ff_proxy.offline.watcher import OfflineWatcher
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.runtime.event_loop import run_until_told
from ff_proxy.runtime.random_names import random_name
from ff_proxy.runtime.signals import Stop
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.store.memory import MemoryStore
from ff_proxy.usage.intake import NullIntake
from ff_proxy.usage.target_intake import NullTargetIntake


def run(loaded: Loaded) -> ExitCode:
    """Serve until a signal; raises ``FfProxyError`` if that cannot begin."""
    assert isinstance(loaded.options, OfflineOptions)  # noqa: S101  (cli chose this module by the type)
    return run_until_told(partial(_offline, loaded, loaded.options))


async def _offline(loaded: Loaded, options: OfflineOptions, stop: Stop) -> ExitCode:
    clock = SystemClock()
    telemetry = make_telemetry(loaded, clock)
    async with AsyncExitStack() as stack:
        # The directory is the truth; a store that outlives us holds secret and targets
        # (spec/behaviour#combinations).
        held = await stack.enter_async_context(MemoryStore(random_name(), clock))
        kept = await stack.enter_async_context(
            open_store(options.store, memory_shares(options.serving), clock, telemetry, namespace="offline")
        )
        watcher = OfflineWatcher(
            options.config_dir, held.configs, kept.targets, clock, telemetry, grace=options.grace
        )
        await watcher.load()
        snapshots = SnapshotRegistry(held.configs, compile_options(options.serving), clock, telemetry)
        await snapshots.resync()

        recovery = recovery_of(kept)

        def readiness() -> Readiness:
            served = Readiness(loaded=len(snapshots.all()), degraded=watcher.degraded)
            for one in recovery:
                served = one.merge_into(served)
            return served

        def environments() -> list[EnvironmentId]:
            # As the Go proxy: offline there is no stream whose state could be told.
            return []

        needs = Needs(
            secret=awaited_secret(options, kept.secrets, clock, telemetry),
            keyless=options.serving.tokens.secret is not None,
            targets=kept.targets,
            statuses=held.configs,
            checker=HeldKeys(snapshots),
            registrar=NullTargetIntake(),
            intake=NullIntake(telemetry),
            freshness=AlwaysFresh(),
            readiness=readiness,
            environments=environments,
            derived=derived_secrets(options, snapshots),
        )
        serving = make_serving(options.serving, snapshots, needs, clock, telemetry)
        return await serve(
            options.serving,
            options.operation,
            serving,
            [watcher, snapshots, *recovery],
            flush=(),
            reloads=[OptionsReload(loaded, telemetry.logger("config"))],
            stop=stop,
            clock=clock,
            telemetry=telemetry,
        )
