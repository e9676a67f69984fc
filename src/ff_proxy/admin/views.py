"""The data of pages and API, as frozen records that both share."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from heapq import nsmallest
from typing import Final

import msgspec

from ff_proxy.admin.changes import ChangeLog
from ff_proxy.admin.descriptions import Rule, flag_rules, group_rules, serve_text
from ff_proxy.admin.differences import Difference
from ff_proxy.admin.fleet import FleetNow, FleetView, Leader, look
from ff_proxy.admin.metrics import MetricValues, Sdk
from ff_proxy.admin.ports import AdminPorts
from ff_proxy.admin.usage import UsageView, usage_view
from ff_proxy.errors import RequestError, StoreError
from ff_proxy.evaluation.clauses import groups_named
from ff_proxy.model.environment import Domain, UpstreamStatus
from ff_proxy.model.feature import FeatureConfig, Variation
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.snapshots.snapshot import Snapshot

MOST_IDENTIFIERS: Final = 200
_STORE_SECONDS: Final = 1.0


class EnvironmentRow(msgspec.Struct, frozen=True, rename="camel"):
    """An environment at a glance.

    ``data_age_seconds`` is ``None`` without an upstream, ``leader`` without a fleet or if it is not known.
    """

    id: str
    identifier: str
    project: str
    organization: str
    loaded: bool
    stream: str
    stream_since: float | None
    trouble: str
    data_age_seconds: float | None
    flags: int
    groups: int
    keys: int
    sdk_streams: int
    usage_waiting: int
    leading: bool
    revision: int
    loaded_since: float | None
    leader: Leader | None

    @property
    def name(self) -> str:
        """The name to show."""
        return self.identifier or self.id


class Status(msgspec.Struct, frozen=True, rename="camel"):
    """The whole proxy at a glance; times in seconds since the epoch. ``fleet`` is ``None`` without one."""

    state: str
    reasons: tuple[str, ...]
    version: str
    mode: str
    store: str
    address: str
    processes: int
    started: float
    uptime_seconds: float
    requests: int
    failed_requests: int
    events_sent: int
    sdk_streams: int
    usage_bodies_sent: int
    usage_bodies_failed: int
    usage_dropped: int
    usage_waiting: int
    resident_bytes: int
    cpu_seconds: float
    open_files: int
    environments: tuple[EnvironmentRow, ...]
    fleet: FleetView | None


class ChangeRow(msgspec.Struct, frozen=True, rename="camel"):
    """A change; ``differences`` has the places that changed."""

    at: float
    action: str
    domain: str
    identifier: str
    version: int
    differences: tuple[Difference, ...]


class FlagRow(msgspec.Struct, frozen=True, rename="camel"):
    """A flag in a list."""

    identifier: str
    name: str
    kind: str
    on: bool
    version: int
    serves: str
    rules: int


class FlagView(msgspec.Struct, frozen=True, rename="camel"):
    """A flag in words."""

    identifier: str
    name: str
    description: str
    kind: str
    on: bool
    version: int
    variations: tuple[Variation, ...]
    off_variation: str
    rules: tuple[Rule, ...]
    needed_by: tuple[str, ...]
    changes: tuple[ChangeRow, ...]
    usage: UsageView


class GroupView(msgspec.Struct, frozen=True, rename="camel"):
    """A target group in words."""

    identifier: str
    name: str
    version: int
    members: tuple[str, ...]
    used_by: tuple[str, ...]


class EnvironmentView(msgspec.Struct, frozen=True, rename="camel"):
    """An environment with everything in it."""

    summary: EnvironmentRow
    flags: tuple[FlagRow, ...]
    groups: tuple[GroupView, ...]
    changes: tuple[ChangeRow, ...]
    usage: UsageView
    sdks: tuple[Sdk, ...]


class Reader:
    """Makes the records from ``ports``."""

    def __init__(self, ports: AdminPorts, changes: ChangeLog) -> None:
        self._ports = ports
        self._changes = changes
        self._statuses: Mapping[EnvironmentId, UpstreamStatus] = {}

    async def status(self, metrics: MetricValues) -> Status:
        """The current state of the proxy."""
        ports, now = self._ports, self._ports.clock.wall()
        readiness = ports.readiness()
        rows, fleet = await self._look(metrics)
        return Status(
            state=readiness.state,
            reasons=(*readiness.pending, *readiness.degraded, *readiness.refused),
            version=ports.facts.version,
            mode=ports.facts.mode,
            store=ports.facts.store,
            address=ports.facts.address,
            processes=ports.facts.processes,
            started=ports.facts.started,
            uptime_seconds=max(0.0, now - ports.facts.started),
            requests=int(metrics.requests),
            failed_requests=int(metrics.failed),
            events_sent=int(metrics.events),
            sdk_streams=metrics.open_streams,
            usage_bodies_sent=int(metrics.usage_sent),
            usage_bodies_failed=int(metrics.usage_failed),
            usage_dropped=int(metrics.usage_dropped),
            usage_waiting=sum(row.usage_waiting for row in rows),
            resident_bytes=int(metrics.resident_bytes),
            cpu_seconds=metrics.cpu_seconds,
            open_files=int(metrics.open_files),
            environments=tuple(rows),
            fleet=None if fleet is None else fleet.view(),
        )

    async def environments(self, metrics: MetricValues) -> Sequence[EnvironmentRow]:
        """All environments that are loaded or have a status, sorted by name."""
        return (await self._look(metrics))[0]

    async def _look(self, metrics: MetricValues) -> tuple[Sequence[EnvironmentRow], FleetNow | None]:
        known = {*self._ports.snapshots.all(), *self._statuses}
        statuses, fleet = await asyncio.gather(self._stored(), self._fleet(known))
        held = self._ports.snapshots.all()
        rows = [
            self._row(name, held.get(name), statuses.get(name), fleet, metrics) for name in {*held, *statuses}
        ]
        return sorted(rows, key=lambda row: (row.project, row.name, row.id)), fleet

    async def environment(self, snapshot: Snapshot, metrics: MetricValues) -> EnvironmentView:
        """One environment."""
        name = snapshot.environment
        statuses, fleet = await asyncio.gather(self._stored(), self._fleet([name]))
        row = self._row(name, snapshot, statuses.get(name), fleet, metrics)
        usage = usage_view(self._ports.sent, self._ports.silent, name, row.leader)
        # Thousands of flags take a while: use a thread, so that SDKs do not have to wait.
        return await asyncio.to_thread(self._environment, snapshot, row, usage, metrics)

    def _environment(
        self, snapshot: Snapshot, row: EnvironmentRow, usage: UsageView, metrics: MetricValues
    ) -> EnvironmentView:
        name = snapshot.environment
        flags, groups = snapshot.engine.flags, snapshot.engine.segments
        records = [flags[flag].record for flag in sorted(flags)]
        users: dict[str, list[str]] = {}
        for record in records:
            for group in groups_named(record):
                users.setdefault(group, []).append(record.identifier)
        return EnvironmentView(
            row,
            tuple(_flag_row(snapshot, record) for record in records),
            tuple(
                GroupView(
                    group,
                    _name_of(snapshot, Domain.SEGMENT, group),
                    groups[group].record.version,
                    group_rules(groups[group].record, and_rules=snapshot.engine.and_rules),
                    tuple(users.get(group, ())),
                )
                for group in sorted(groups)
            ),
            self.changes(name),
            usage,
            tuple(one for one in metrics.sdks if one.environment == name),
        )

    async def flag(self, snapshot: Snapshot, identifier: str) -> FlagView:
        """One flag; raises ``RequestError`` 404."""
        compiled = snapshot.engine.flags.get(identifier)
        if compiled is None:
            raise RequestError(404, f"the environment has no flag {identifier!r}")
        name = snapshot.environment
        fleet = await self._fleet([name])
        leader = None if fleet is None else fleet.leader(name)
        usage = usage_view(self._ports.sent, self._ports.silent, name, leader, identifier)
        return await asyncio.to_thread(self._flag, snapshot, compiled.record, usage)

    def _flag(self, snapshot: Snapshot, record: FeatureConfig, usage: UsageView) -> FlagView:
        identifier = record.identifier
        needed_by = sorted(
            other.record.identifier
            for other in snapshot.engine.flags.values()
            if any(entry.feature == identifier for entry in other.record.prerequisites)
        )
        doc = _doc_of(snapshot, Domain.FLAG, identifier)
        return FlagView(
            identifier=identifier,
            name=_text(doc.name),
            description=_text(doc.description),
            kind=record.kind,
            on=record.on,
            version=record.version,
            variations=record.variations,
            off_variation=record.off_variation,
            rules=flag_rules(record),
            needed_by=tuple(needed_by),
            changes=self.changes(snapshot.environment, flag=identifier),
            usage=usage,
        )

    def changes(self, environment: EnvironmentId, *, flag: str | None = None) -> tuple[ChangeRow, ...]:
        """The last changes, newest first."""
        return tuple(
            ChangeRow(
                one.at,
                {"create": "new", "patch": "changed", "delete": "deleted"}[one.action.value],
                "flag" if one.domain is Domain.FLAG else "group",
                one.identifier,
                one.version,
                one.differences,
            )
            for one in self._changes.of(environment, flag=flag)
        )

    async def _stored(self) -> Mapping[EnvironmentId, UpstreamStatus]:
        """The statuses; the last known ones while the store does not answer."""
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(_STORE_SECONDS):
                self._statuses = await self._ports.statuses.statuses()
        return self._statuses

    async def _fleet(self, environments: Collection[EnvironmentId]) -> FleetNow | None:
        return None if self._ports.fleet is None else await look(self._ports.fleet, environments)

    def _row(
        self,
        name: EnvironmentId,
        snapshot: Snapshot | None,
        status: UpstreamStatus | None,
        fleet: FleetNow | None,
        metrics: MetricValues,
    ) -> EnvironmentRow:
        info = None if snapshot is None else snapshot.info
        return EnvironmentRow(
            id=name,
            identifier="" if info is None else info.identifier,
            project="" if info is None else info.project_identifier,
            organization="" if info is None else info.organization_identifier,
            loaded=snapshot is not None,
            stream="none" if status is None else status.state.value.lower(),
            stream_since=None if status is None or not status.since else status.since / 1000,
            trouble="" if status is None else status.trouble or status.detail,
            data_age_seconds=None if status is None else round(status.data_age(self._ports.clock.wall()), 1),
            flags=0 if snapshot is None else len(snapshot.items(Domain.FLAG)),
            groups=0 if snapshot is None else len(snapshot.items(Domain.SEGMENT)),
            keys=0 if snapshot is None else len(snapshot.keys),
            sdk_streams=metrics.streams.get(name, 0),
            usage_waiting=metrics.usage_waiting.get(name, 0),
            leading=name in metrics.leading,
            revision=0 if snapshot is None else snapshot.revision.counter,
            loaded_since=None if snapshot is None else snapshot.since,
            leader=None if fleet is None else fleet.leader(name),
        )


def named_identifiers(snapshot: Snapshot) -> Sequence[str]:
    """Target identifiers in flags and groups, as suggestions; slow for large groups."""
    found: set[str] = set()
    for flag in snapshot.engine.flags.values():
        for entry in flag.record.variation_map:
            found.update(entry.targets[:MOST_IDENTIFIERS])
    for group in snapshot.engine.segments.values():
        found.update(nsmallest(MOST_IDENTIFIERS, group.record.included))
    return nsmallest(MOST_IDENTIFIERS, found)


def _flag_row(snapshot: Snapshot, record: FeatureConfig) -> FlagRow:
    return FlagRow(
        record.identifier,
        _name_of(snapshot, Domain.FLAG, record.identifier),
        record.kind,
        record.on,
        record.version,
        serve_text(record.default_serve) if record.on else record.off_variation or "nothing",
        len(record.rules) + len(record.variation_map) + len(record.prerequisites),
    )


def _name_of(snapshot: Snapshot, domain: Domain, identifier: str) -> str:
    return _text(_doc_of(snapshot, domain, identifier).name)


class _Doc(msgspec.Struct):
    name: object = None
    description: object = None


_decode: Final = msgspec.json.Decoder(_Doc).decode


def _doc_of(snapshot: Snapshot, domain: Domain, identifier: str) -> _Doc:
    return _decode(snapshot.items(domain)[identifier].item.wire)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
