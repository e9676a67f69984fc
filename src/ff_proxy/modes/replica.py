"""Replica: serve what others put into the shared Redis; never talk to Harness."""

from contextlib import AsyncExitStack
from functools import partial

from ff_proxy.config.load import Loaded
from ff_proxy.config.records import ReplicaOptions
from ff_proxy.errors import ExitCode
from ff_proxy.model.readiness import Readiness
from ff_proxy.modes.process import make_telemetry
from ff_proxy.modes.running import serve
from ff_proxy.modes.serving import Needs, compile_options, make_serving
from ff_proxy.modes.shared import redis_store
from ff_proxy.modes.stores import signing_secret
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.runtime.loop import run_until_told
from ff_proxy.runtime.services import Phase, Service
from ff_proxy.runtime.signals import Stop
from ff_proxy.store.freshness import RevisionFreshness
from ff_proxy.store.outlook import Outlook
from ff_proxy.store.snapshots import Snapshots
from ff_proxy.usage.intake import Intake, NullIntake, UsageIntake
from ff_proxy.web.needs import HeldKeys
from ff_proxy.web.registrar import QueueRegistrar


def run(loaded: Loaded) -> ExitCode:
    """Serve until a signal; raises ``FfProxyError`` if that cannot begin."""
    assert isinstance(loaded.options, ReplicaOptions)  # noqa: S101  (cli chose this module by the type)
    return run_until_told(partial(_replica, loaded.options, loaded.warnings))


async def _replica(options: ReplicaOptions, warnings: tuple[str, ...], stop: Stop) -> ExitCode:
    clock = SystemClock()
    telemetry = make_telemetry(options.operation, clock, warnings)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(redis_store(options.store, clock, telemetry))
        snapshots = Snapshots(store.configs, compile_options(options.serving), clock, telemetry)
        outlook = Outlook(store.configs, clock)
        services: list[Service] = [snapshots, store.keeper, outlook]
        flush: list[Phase] = []
        intake: Intake = NullIntake(telemetry)
        if options.usage.post_interval is not None:
            taken = UsageIntake(store.usage, clock, telemetry)
            intake = taken
            services.append(taken)
            flush.append(Phase("usage", options.serving.shutdown.deadline, lambda _: taken.flush()))

        def readiness() -> Readiness:
            return outlook.added_to(Readiness(loaded=len(snapshots.all())), snapshots.all())

        needs = Needs(
            secret=partial(signing_secret, options.serving.tokens, store, clock, telemetry),
            keyless=options.serving.tokens.secret is not None,
            targets=store.targets,
            statuses=store.configs,
            checker=HeldKeys(snapshots),
            registrar=QueueRegistrar(store.registrations, telemetry),
            intake=intake,
            freshness=RevisionFreshness(store.configs.revision, snapshots, clock, telemetry),
            readiness=readiness,
            environments=snapshots.all,
        )
        serving = make_serving(options.serving, snapshots, needs, clock, telemetry)
        return await serve(
            options.serving,
            options.operation,
            serving,
            services,
            flush=flush,
            stop=stop,
            clock=clock,
            telemetry=telemetry,
        )
