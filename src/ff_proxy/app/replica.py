"""Replica: serve what others put into the shared Redis; never talk to Harness."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ff_proxy.api.ports import HeldKeys
from ff_proxy.app.ingest import make_ingest
from ff_proxy.app.memory import memory_shares
from ff_proxy.app.options_reload import OptionsReload
from ff_proxy.app.process_setup import make_telemetry
from ff_proxy.app.redis import redis_store
from ff_proxy.app.run import serve
from ff_proxy.app.secrets import signing_secret
from ff_proxy.app.serving import Needs, Serving, compile_options, make_serving
from ff_proxy.config.load import Loaded
from ff_proxy.config.records import ReplicaOptions
from ff_proxy.errors import ExitCode
from ff_proxy.http.sockets import Listening
from ff_proxy.model.clock import Clock
from ff_proxy.model.readiness import Readiness
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.runtime.event_loop import run_until_told
from ff_proxy.runtime.services import Phase, Service
from ff_proxy.runtime.signals import Stop
from ff_proxy.snapshots.freshness import RevisionFreshness
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.store.fleet_health import FleetHealth
from ff_proxy.store.redis import RedisStore
from ff_proxy.telemetry import Telemetry


def run(loaded: Loaded) -> ExitCode:
    """Serve until a signal; raises ``FfProxyError`` if that cannot begin."""
    assert isinstance(loaded.options, ReplicaOptions)  # noqa: S101  (cli chose this module by the type)
    return run_until_told(partial(_replica, loaded, loaded.options))


async def _replica(loaded: Loaded, options: ReplicaOptions, stop: Stop) -> ExitCode:
    clock = SystemClock()
    telemetry = make_telemetry(loaded, clock)
    async with redis_store(options.store, memory_shares(options.serving), clock, telemetry) as store:
        replica = make_replica(options, store, clock, telemetry)
        return await serve(
            options.serving,
            options.operation,
            replica.serving,
            replica.services,
            flush=replica.flush,
            reloads=[OptionsReload(loaded, telemetry.logger("config"))],
            stop=stop,
            clock=clock,
            telemetry=telemetry,
        )


@dataclass(frozen=True, slots=True)
class Replica:
    """What serves, what keeps it going, and its last steps."""

    snapshots: SnapshotRegistry
    serving: Serving
    services: Sequence[Service]
    flush: Sequence[Phase]


def make_replica(
    options: ReplicaOptions,
    store: RedisStore,
    clock: Clock,
    telemetry: Telemetry,
    *,
    listening: Listening | None = None,
) -> Replica:
    """A replica behind ``listening``, by default behind the port; raises ``StartupError``."""
    snapshots = SnapshotRegistry(store.configs, compile_options(options.serving), clock, telemetry)
    taking = make_ingest(options, store, clock, telemetry)
    fleet_health = FleetHealth(store.configs, clock)

    def readiness() -> Readiness:
        known = fleet_health.merge_into(Readiness(loaded=len(snapshots.all())), snapshots.all())
        return store.recovery.merge_into(known)

    needs = Needs(
        secret=partial(signing_secret, options.serving.tokens, store.secrets, clock, telemetry),
        keyless=options.serving.tokens.secret is not None,
        targets=store.targets,
        statuses=store.configs,
        checker=HeldKeys(snapshots),
        registrar=taking.registrar,
        intake=taking.intake,
        freshness=RevisionFreshness(store.configs.revision, snapshots, clock, telemetry),
        readiness=readiness,
        environments=snapshots.all,
        others=store.secrets.others,
        bound=store.secrets.bound,
    )
    serving = make_serving(options.serving, snapshots, needs, clock, telemetry, listening=listening)
    services: list[Service] = [snapshots, store.recovery, fleet_health, *taking.services]
    return Replica(snapshots, serving, services, taking.flush)
