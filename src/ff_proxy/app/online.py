"""Online: one process, connected to Harness, serving SDKs."""

from contextlib import AsyncExitStack
from functools import partial

from ff_proxy.app.backings import open_backing
from ff_proxy.app.ingest import forward, make_ingest
from ff_proxy.app.memory import memory_shares
from ff_proxy.app.options_reload import OptionsReload
from ff_proxy.app.process_setup import make_telemetry
from ff_proxy.app.run import serve
from ff_proxy.app.secrets import awaited_secret, derived_secrets
from ff_proxy.app.serving import Needs, compile_options, make_serving
from ff_proxy.app.upstream import make_saas, open_apis
from ff_proxy.config.load import Loaded
from ff_proxy.config.records import OnlineOptions
from ff_proxy.errors import ExitCode
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.runtime.event_loop import run_until_told
from ff_proxy.runtime.signals import Stop
from ff_proxy.snapshots.registry import SnapshotRegistry


def run(loaded: Loaded) -> ExitCode:
    """Serve until a signal; raises ``FfProxyError`` if that cannot begin."""
    assert isinstance(loaded.options, OnlineOptions)  # noqa: S101  (cli chose this module by the type)
    return run_until_told(partial(_online, loaded, loaded.options))


async def _online(loaded: Loaded, options: OnlineOptions, stop: Stop) -> ExitCode:
    clock = SystemClock()
    shares = memory_shares(options.serving)
    telemetry = make_telemetry(loaded, clock)
    async with AsyncExitStack() as stack:
        backing = await stack.enter_async_context(open_backing(options.store, shares, clock, telemetry))
        store = backing.store
        apis = await stack.enter_async_context(open_apis(options.upstream, clock, telemetry))
        snapshots = SnapshotRegistry(store.configs, compile_options(options.serving), clock, telemetry)
        saas = make_saas(
            options.upstream,
            apis,
            store.configs,
            store.targets,
            clock,
            telemetry,
            leadership=backing.leadership,
            served=lambda environment: snapshots.get(environment) is not None,
        )
        taking = make_ingest(options, store, clock, telemetry)
        forwarding = forward(options, store, saas, backing.leads, clock, telemetry)
        needs = Needs(
            secret=awaited_secret(options, store.secrets, clock, telemetry),
            keyless=options.serving.tokens.secret is not None,
            targets=store.targets,
            statuses=store.configs,
            checker=saas.checker,
            registrar=taking.registrar,
            intake=taking.intake,
            freshness=backing.freshness(snapshots),
            readiness=lambda: backing.readiness(saas.upstream),
            environments=saas.upstream.environments,
            others=backing.others,
            bound=backing.bound,
            derived=derived_secrets(options, snapshots, backing.signed_with),
        )
        serving = make_serving(options.serving, snapshots, needs, clock, telemetry)
        flows = (*taking.services, *forwarding.services)
        return await serve(
            options.serving,
            options.operation,
            serving,
            [snapshots, saas.upstream, *flows, *backing.services(saas.upstream)],
            flush=(*taking.flush, *forwarding.flush),
            reloads=[OptionsReload(loaded, telemetry.logger("config"))],
            stop=stop,
            clock=clock,
            telemetry=telemetry,
        )
