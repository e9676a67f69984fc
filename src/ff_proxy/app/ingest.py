"""What flows up: usage and target registrations, from web through the store's queues to SaaS."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ff_proxy.api.ports import Registrar
from ff_proxy.app.memory import memory_shares
from ff_proxy.app.upstream import Saas
from ff_proxy.config.records import OnlineOptions, ReplicaOptions
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.runtime.services import Phase, Service
from ff_proxy.store.protocol import RegistrationIngest, Store, UsageIngest
from ff_proxy.telemetry import Telemetry
from ff_proxy.usage.forwarder import UsageForwarder
from ff_proxy.usage.intake import Intake, NullIntake, UsageIntake
from ff_proxy.usage.registration_forwarder import RegistrationForwarder
from ff_proxy.usage.target_intake import NullTargetIntake, TargetIntake


@dataclass(frozen=True, slots=True)
class Ingest:
    """Where web hands in usage and targets, the services that take both into the store, their last steps."""

    intake: Intake
    registrar: Registrar
    services: Sequence[Service]
    flush: Sequence[Phase]


@dataclass(frozen=True, slots=True)
class Forwarding:
    """The services that take things from the store to SaaS, and their last step."""

    services: Sequence[Service]
    flush: Sequence[Phase]


class IngestStore(Protocol):
    """A store as far as things are handed in."""

    @property
    def usage(self) -> UsageIngest:
        """Where counts wait."""
        ...

    @property
    def registrations(self) -> RegistrationIngest:
        """Where targets wait."""
        ...


def make_ingest(
    options: OnlineOptions | ReplicaOptions, store: IngestStore, clock: Clock, telemetry: Telemetry
) -> Ingest:
    """Both into the store, with stand-ins for what is switched off; a replica leaves targets to who leads."""
    deadline = options.serving.shutdown.deadline
    shares = memory_shares(options.serving)
    services: list[Service] = []
    flush: list[Phase] = []
    intake: Intake = NullIntake(telemetry)
    registrar: Registrar = NullTargetIntake()
    if options.usage.post_interval is not None:
        intake = counts = UsageIntake(
            store.usage,
            clock,
            telemetry,
            budget=shares.usage_buffer,
            local_counts=options.usage.ofrep,
        )
        services.append(counts)
        flush.append(Phase("usage taken", deadline, counts.last_flush))
    if isinstance(options, ReplicaOptions) or options.upstream.forward_targets:
        registrar = targets = TargetIntake(store.registrations, clock, telemetry, budget=shares.registrations)
        services.append(targets)
        flush.append(Phase("targets taken", deadline, targets.last_flush))
    return Ingest(intake, registrar, services, flush)


def discard_ingest(telemetry: Telemetry) -> Ingest:
    """Stand-ins for both: what SDKs post goes nowhere."""
    return Ingest(NullIntake(telemetry), NullTargetIntake(), (), ())


def forward(
    options: OnlineOptions,
    store: Store,
    saas: Saas,
    leads: Callable[[EnvironmentId], bool],
    clock: Clock,
    telemetry: Telemetry,
) -> Forwarding:
    """Both from the store to SaaS, as far as they are wanted; ``leads`` says whose usage is sent here."""
    services: list[Service] = []
    flush: list[Phase] = []
    chance = random.SystemRandom()
    if options.usage.post_interval is not None:
        forwarder = UsageForwarder(
            store.usage, saas.usage, options.usage.post_interval, clock, chance, telemetry, owns=leads
        )
        services.append(forwarder)
        flush.append(Phase("usage", options.serving.shutdown.deadline, forwarder.flush))
    if options.upstream.forward_targets:
        services.append(
            RegistrationForwarder(store.registrations, saas.registrations, clock, chance, telemetry)
        )
    return Forwarding(services, flush)
