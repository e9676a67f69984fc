"""The admin application over a store in memory, asked without a network."""

import io
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import httpx2

from ff_proxy.admin.app import AdminApp
from ff_proxy.admin.ports import AdminPorts, ProxyFacts, ReloadResult, SettingRow
from ff_proxy.model.environment import EnvironmentConfig
from ff_proxy.model.keys import Secret
from ff_proxy.model.readiness import Readiness
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.snapshots.snapshot import CompileOptions
from ff_proxy.store.memory import MemoryStore
from ff_proxy.store.protocol import FleetMembers
from ff_proxy.telemetry import Telemetry
from ff_proxy.telemetry.log_ring import LogRing
from ff_proxy.telemetry.logs import make_logger
from ff_proxy.usage.tally import UsageTally
from tests.support.clock import FakeClock
from tests.support.configs import hold

BASE: Final = "http://127.0.0.1:7001"


class AdminWorld:
    """An admin application, and what it shows: all of it can be changed."""

    def __init__(
        self, *, token: str | None = None, fleet: FleetMembers | None = None, sends: bool = True
    ) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore("life", self.clock)
        self.recent = LogRing()
        self.telemetry = Telemetry(
            make_logger("INFO", io.StringIO(), recent=self.recent, form="json"),
            self.clock,
            recent=self.recent,
        )
        self.snapshots = SnapshotRegistry(self.store.configs, CompileOptions(), self.clock, self.telemetry)
        self.token = None if token is None else Secret(token)
        self.readiness: Readiness | None = None
        self.reloaded = ReloadResult()
        self.failures: list[Exception] = []
        self.fleet = fleet
        self.sent = UsageTally(self.clock, 100_000, print) if sends else None
        facts = ProxyFacts(
            version="1.2.3",
            mode="online",
            store="memory",
            address="http://*:7000",
            processes=1,
            started=self.clock.wall(),
            and_rules=True,
        )
        self.app = AdminApp(
            AdminPorts(
                facts=facts,
                snapshots=self.snapshots,
                statuses=self.store.configs,
                targets=self.store.targets,
                readiness=lambda: self.readiness or Readiness(loaded=len(self.snapshots.all())),
                settings=self._settings,
                log=self.recent,
                levels=self.telemetry.levels,
                collect=self.telemetry.collect,
                reload=lambda: self.reloaded,
                token=lambda: self.token,
                fleet=self.fleet,
                sdk_port=lambda: b'{"openapi":"3.1.0"}',
                sent=self.sent,
                silent="Nothing is sent from here.",
                clock=self.clock,
            ),
            self.telemetry.logger("admin"),
            self.failures.append,
        )

    async def hold(self, *configs: EnvironmentConfig) -> None:
        """Serve these environments as they are now."""
        await hold(self.store, self.snapshots, *configs)

    @asynccontextmanager
    async def client(self, address: str = "127.0.0.1") -> AsyncIterator[httpx2.AsyncClient]:
        """Asks the application, as if from ``address``."""
        transport = httpx2.ASGITransport(self.app.asgi, client=(address, 50_000))
        async with httpx2.AsyncClient(transport=transport, base_url=BASE) as http:
            yield http

    @staticmethod
    def _settings() -> Sequence[SettingRow]:
        return [
            SettingRow(
                section="Serving",
                flag="port",
                variable="PORT",
                value="7000",
                source="default",
                given=False,
                meaning="Port for SDKs",
                reloadable=False,
            )
        ]
