"""A worker on Redis: a replica that shares the port with others, beside a sync process or without one."""

import socket
from contextlib import AsyncExitStack
from functools import partial

from ff_proxy.config.records import OnlineOptions, RedisStoreOptions, ReplicaOptions
from ff_proxy.errors import ExitCode
from ff_proxy.modes.common import Common
from ff_proxy.modes.flows import take
from ff_proxy.modes.process import make_part_telemetry
from ff_proxy.modes.replica import make_replica
from ff_proxy.modes.running import figures, head_start, heartbeat, serve_part
from ff_proxy.modes.serving import Needs, compile_options
from ff_proxy.modes.shared import redis_store
from ff_proxy.modes.stores import signing_secret
from ff_proxy.modes.worker import HEAD_START, Place, serve_beside_sync
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.runtime.control import stop_on_control
from ff_proxy.runtime.loop import run_until_told
from ff_proxy.runtime.signals import Stop
from ff_proxy.store.freshness import RevisionFreshness
from ff_proxy.store.link import LinkState, LinkStore
from ff_proxy.store.snapshots import Snapshots


def run(options: OnlineOptions, common: Common, place: Place, pipe: int) -> ExitCode:
    """Be a worker beside a sync process until told through ``pipe``."""
    return run_until_told(
        partial(_beside_sync, options, common, place), listen=partial(stop_on_control, pipe)
    )


def run_replica(
    options: ReplicaOptions,
    common: Common,
    place: Place,
    shown: socket.socket | None,
    pipe: int,
) -> ExitCode:
    """Be one of several replicas until told; the first one serves figures on ``shown``, if anybody does."""
    code = run_until_told(
        partial(_replica, options, common, place, shown), listen=partial(stop_on_control, pipe)
    )
    common.remove_if_orphaned()
    return code


async def _beside_sync(options: OnlineOptions, common: Common, place: Place, stop: Stop) -> ExitCode:
    assert isinstance(options.store, RedisStoreOptions)  # noqa: S101  (workers chose this module by the type)
    clock = SystemClock()
    telemetry = make_part_telemetry(options.operation, clock, common.figures, place.name)
    serving_options = options.serving
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(redis_store(options.store, clock, telemetry))
        link = await stack.enter_async_context(LinkStore(common.link, common.tide, clock))
        snapshots = Snapshots(store.configs, compile_options(serving_options), clock, telemetry)
        state = LinkState(link, snapshots, clock)
        taking = take(options, store, clock, telemetry)
        needs = Needs(
            secret=partial(signing_secret, serving_options.tokens, store.secrets, clock, telemetry),
            keyless=serving_options.tokens.secret is not None,
            targets=store.targets,
            statuses=store.configs,
            checker=link,
            registrar=taking.registrar,
            intake=taking.intake,
            freshness=RevisionFreshness(store.configs.revision, snapshots, clock, telemetry),
            readiness=state.readiness,
            environments=state.environments,
            others=store.secrets.others,
        )
        return await serve_beside_sync(
            serving_options,
            place,
            snapshots,
            state,
            needs,
            taking,
            [store.keeper],
            stop,
            clock,
            telemetry,
        )


async def _replica(
    options: ReplicaOptions,
    common: Common,
    place: Place,
    shown: socket.socket | None,
    stop: Stop,
) -> ExitCode:
    clock = SystemClock()
    telemetry = make_part_telemetry(options.operation, clock, common.figures, place.name)
    async with redis_store(options.store, clock, telemetry) as store:
        replica = make_replica(options, store, clock, telemetry, listening=place.listening)
        await head_start(HEAD_START, replica.serving.entrance.open, replica.snapshots.resync)
        beating = (
            heartbeat(options.operation, replica.serving.readiness, clock, telemetry) if place.first else ()
        )
        with figures(shown if place.first else None, telemetry):
            return await serve_part(
                options.serving.shutdown,
                replica.serving,
                [*replica.services, *beating],
                flush=replica.flush,
                stop=stop,
                clock=clock,
                telemetry=telemetry,
            )
