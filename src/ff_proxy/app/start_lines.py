"""The two log lines of a start: ``starting`` with the configuration, and ``ready`` with what is served."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from ff_proxy.config.load import Loaded
from ff_proxy.config.records import (
    GenerateOptions,
    OfflineOptions,
    OnlineOptions,
    ProxyOptions,
    RedisStoreOptions,
    ReplicaOptions,
    RoleOptions,
    ServingOptions,
    SqliteStoreOptions,
)
from ff_proxy.config.settings import DEFAULT, Setting
from ff_proxy.model.clock import Clock
from ff_proxy.model.environment import Domain
from ff_proxy.model.readiness import Readiness
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.telemetry import Telemetry

MODES: Final[Mapping[type[RoleOptions], str]] = {
    OnlineOptions: "online",
    ReplicaOptions: "read replica",
    OfflineOptions: "offline",
    GenerateOptions: "generate",
}
"""The name of each mode."""

_LONGEST: Final = 120
_LISTED: Final = 20
_LOOK_SECONDS: Final = 0.1


def start_facts(loaded: Loaded) -> Mapping[str, object]:
    """The fields of the ``starting`` line: mode, store, keys, address, and options that are not defaults."""
    options = loaded.options
    facts: dict[str, object] = {"mode": MODES[type(options)]}
    if isinstance(options, ProxyOptions):
        store, serving = options.store, options.serving
        match store:
            case RedisStoreOptions():
                facts["store"] = f"Redis at {store.address}"
            case SqliteStoreOptions():
                facts["store"] = f"SQLite in {store.directory}"
            case _:
                facts["store"] = "memory"
        facts["address"] = address_of(serving)
        facts["workers"] = serving.workers
    if isinstance(options, OfflineOptions | GenerateOptions):
        facts["directory"] = str(options.config_dir)
    if isinstance(options, OnlineOptions | GenerateOptions):
        facts["api_keys"] = len(options.upstream.api_keys)
    differing = {one.option.flag: _shortened(one) for one in loaded.report if _differs(one)}
    return facts | {"settings": differing}


def address_of(serving: ServingOptions) -> str:
    """The URL at which SDKs reach the proxy."""
    return f"{'https' if serving.tls else 'http'}://{serving.host or '*'}:{serving.port}"


def _differs(setting: Setting) -> bool:
    return setting.place != DEFAULT and setting.value != setting.option.default


def _shortened(setting: Setting) -> str:
    return setting.masked if len(setting.masked) <= _LONGEST else f"{setting.masked[:_LONGEST]}..."


class ReadyLine:
    """The service that logs once that this proxy is ready, with what it serves and the startup time.

    The startup time counts from the creation of ``telemetry``.
    """

    name = "ready line"

    def __init__(
        self,
        readiness: Callable[[], Readiness],
        snapshots: SnapshotRegistry,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self.ready = asyncio.Event()
        self._readiness = readiness
        self._snapshots = snapshots
        self._began = telemetry.began
        self._clock = clock
        self._log = telemetry.logger("runtime")

    async def run(self) -> None:
        """Poll until the proxy is ready, log the line, then wait until cancelled."""
        while not self.ready.is_set():
            state = self._readiness()
            if state.ready:
                self._tell(state)
                self.ready.set()
            else:
                await self._clock.sleep(_LOOK_SECONDS)
        await asyncio.get_running_loop().create_future()

    def _tell(self, state: Readiness) -> None:
        held = [snapshot for _, snapshot in sorted(self._snapshots.all().items())]
        counts = [
            {
                "flags": len(one.items(Domain.FLAG)),
                "target_groups": len(one.items(Domain.SEGMENT)),
                "keys": len(one.keys),
            }
            for one in held
        ]
        troubles = {"refused": state.refused, "degraded": state.degraded}
        facts: dict[str, object] = {name: list(why[:_LISTED]) for name, why in troubles.items() if why}
        for name in ("flags", "target_groups", "keys"):
            facts[name] = sum(one[name] for one in counts)
        self._log.info(
            "ready",
            seconds=round(self._clock.monotonic() - self._began, 2),
            environments=len(held),
            **facts,
            # List only the first few; the status page and the metrics have all.
            serving=[
                {"environment": one.environment, **count}
                for one, count in zip(held[:_LISTED], counts[:_LISTED], strict=True)
            ],
        )
