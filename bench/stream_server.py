"""The proxy's serving half in one process, with changes on request: what ``bench.streams`` measures.

Prints ``<port> <control port>``. A number written to the control port is that many changes, each
of another flag, written to the store one after the other, as the upstream would.
"""

import asyncio
import contextlib
import sys
from functools import partial
from secrets import token_hex

from ff_proxy.api.ports import AlwaysFresh, Dependencies, LoadedKeys, Signing
from ff_proxy.app.process import command_context
from ff_proxy.app.serving import compile_options, make_serving
from ff_proxy.app.signing import signing_secret
from ff_proxy.config.records import LimitOptions, ServingOptions, ShutdownOptions, TokenOptions
from ff_proxy.http.sockets import bind
from ff_proxy.model.environment import EnvironmentConfig, EnvironmentInfo, Item
from ff_proxy.model.keys import EnvironmentId, Secret, hash_key
from ff_proxy.model.readiness import Readiness
from ff_proxy.runtime.event_loop import run
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.store.memory import MemoryStore
from ff_proxy.store.protocol import PutItem
from ff_proxy.usage.intake import NullIntake
from ff_proxy.usage.target_intake import NullTargetIntake
from ff_proxy.wire.normalise import normalise_flag

ENVIRONMENT = EnvironmentId("9a1f4d0c-6c0e-4a54-9a0b-000000000001")
KEY = "bench-server-key"
FLAGS = 100

_OPTIONS = ServingOptions(
    port=0,
    limits=LimitOptions(max_body_size=1 << 20),
    tokens=TokenOptions(secret=Secret("bench")),
    shutdown=ShutdownOptions(delay=0, deadline=1),
)


def flag(number: int, version: int) -> Item:
    """A flag that differs from version to version."""
    item = normalise_flag(
        {
            "feature": f"bench-flag-{number:02}",
            "project": "bench",
            "environment": "bench",
            "kind": "string",
            "state": "on",
            "variations": [{"identifier": "one", "value": str(version)}, {"identifier": "two", "value": "2"}],
            "defaultServe": {"variation": "one"},
            "offVariation": "two",
            "version": version,
        }
    )
    assert isinstance(item, Item), item
    return item


async def main() -> None:
    """Serve until the control connection ends."""
    context = command_context()
    clock, telemetry = context.clock, context.telemetry
    async with MemoryStore(token_hex(16), clock) as store:
        flags = [flag(number, 1) for number in range(FLAGS)]
        await store.configs.replace(
            EnvironmentConfig(
                info=EnvironmentInfo(ENVIRONMENT, "bench"),
                flags={item.identifier: item for item in flags},
                segments={},
                keys=frozenset({hash_key(KEY)}),
            )
        )
        snapshots = SnapshotRegistry(store.configs, compile_options(_OPTIONS), clock, telemetry)
        await snapshots.resync()
        dependencies = Dependencies(
            snapshots=snapshots,
            targets=store.targets,
            statuses=store.configs,
            key_checker=LoadedKeys(snapshots),
            registrar=NullTargetIntake(),
            intake=NullIntake(telemetry),
            freshness=AlwaysFresh(),
            readiness=lambda: Readiness(loaded=1),
            environments=lambda: [ENVIRONMENT],
            given_up=lambda _: False,
            signing=Signing(secret=partial(signing_secret, _OPTIONS.tokens, store.secrets, context)),
        )
        serving = make_serving(_OPTIONS, dependencies, context, bind(_OPTIONS.port, _OPTIONS.host or ""))
        over = asyncio.Event()
        version = 1

        async def control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal version
            with contextlib.closing(writer):
                while line := await reader.readline():
                    for number in range(int(line)):
                        version += 1
                        await store.configs.apply(ENVIRONMENT, PutItem(flag(number, version)))
            over.set()

        controls = await asyncio.start_server(control, "127.0.0.1", 0)
        await serving.server.start()
        async with controls, asyncio.TaskGroup() as group:
            running = (snapshots, *serving.services, serving.server)
            services = [group.create_task(service.run()) for service in running]
            await snapshots.ready.wait()
            sys.stdout.write(f"{serving.server.port} {controls.sockets[0].getsockname()[1]}\n")
            sys.stdout.flush()
            await over.wait()
            for service in services:
                service.cancel()


if __name__ == "__main__":
    run(main())
