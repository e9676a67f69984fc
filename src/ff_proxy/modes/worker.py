"""A worker beside a sync process: serves SDKs from its store, which it reaches over the link."""

import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

from ff_proxy.config.records import OfflineOptions, OnlineOptions
from ff_proxy.errors import ExitCode
from ff_proxy.modes.common import Common
from ff_proxy.modes.flows import Taking, take_targets, take_usage
from ff_proxy.modes.process import make_part_telemetry
from ff_proxy.modes.running import head_start, serve_part
from ff_proxy.modes.serving import Needs, compile_options, make_serving
from ff_proxy.modes.stores import signing_secret
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.runtime.control import stop_on_control
from ff_proxy.runtime.loop import run_until_told
from ff_proxy.runtime.signals import Stop
from ff_proxy.store.freshness import TideFreshness
from ff_proxy.store.link import LinkState, LinkStore
from ff_proxy.store.snapshots import Snapshots
from ff_proxy.usage.intake import NullIntake
from ff_proxy.web.registrar import NoRegistrar

HEAD_START: Final = 5.0
"""Seconds that a worker which is started may take to catch up with the others, with connections waiting."""

# How often a sync process that is away is looked for: it is back in a moment.
_RECONNECT: Final = 0.1


@dataclass(frozen=True, slots=True)
class Place:
    """Which worker this is, and where it listens; the ``first`` one speaks for all where there is no sync."""

    name: str
    listening: socket.socket
    first: bool


def run(options: OnlineOptions | OfflineOptions, common: Common, place: Place, pipe: int) -> ExitCode:
    """Be the worker until told through ``pipe``."""
    return run_until_told(partial(_worker, options, common, place), listen=partial(stop_on_control, pipe))


async def _worker(
    options: OnlineOptions | OfflineOptions, common: Common, place: Place, stop: Stop
) -> ExitCode:
    clock = SystemClock()
    telemetry = make_part_telemetry(options.operation, clock, common.figures, place.name)
    serving_options = options.serving
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(LinkStore(common.link, common.tide, clock))
        snapshots = Snapshots(
            store.configs, compile_options(serving_options), clock, telemetry, retry=_RECONNECT
        )
        state = LinkState(store, snapshots, clock)
        if isinstance(options, OnlineOptions):
            taking = take_usage(options.usage, serving_options.shutdown, store.usage, clock, telemetry)
            registrar = take_targets(options, store.registrations, telemetry)
        else:
            taking, registrar = Taking(NullIntake(telemetry), (), ()), NoRegistrar()
        needs = Needs(
            secret=partial(signing_secret, serving_options.tokens, store.secrets, clock, telemetry),
            keyless=serving_options.tokens.secret is not None,
            targets=store.targets,
            statuses=store.configs,
            checker=store,
            registrar=registrar,
            intake=taking.intake,
            freshness=TideFreshness(common.tide, snapshots),
            readiness=state.readiness,
            environments=state.environments,
        )
        serving = make_serving(serving_options, snapshots, needs, clock, telemetry, listening=place.listening)
        await head_start(HEAD_START, serving.entrance.open, snapshots.resync, state.look)
        return await serve_part(
            serving_options.shutdown,
            serving,
            [snapshots, state, *taking.services],
            flush=taking.flush,
            stop=stop,
            clock=clock,
            telemetry=telemetry,
        )
