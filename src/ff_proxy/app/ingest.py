"""Moves usage and targets that SDKs post into the store, and from there to Harness."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ff_proxy.api.ports import Registrar
from ff_proxy.app.backend import ServedStore
from ff_proxy.app.process import ProcessContext
from ff_proxy.config.records import OfflineOptions, OnlineOptions, ProxyOptions, ReplicaOptions
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.readiness import Readiness
from ff_proxy.runtime.services import Phase, Service
from ff_proxy.store.protocol import StoreFacets
from ff_proxy.upstream.posts import HarnessSink
from ff_proxy.usage.forwarder import UsageForwarder
from ff_proxy.usage.intake import Intake, NullIntake, UsageIntake
from ff_proxy.usage.registration_forwarder import RegistrationForwarder
from ff_proxy.usage.store_writer import StoreWriter
from ff_proxy.usage.tally import UsageTally
from ff_proxy.usage.target_intake import NullTargetIntake, TargetIntake


@dataclass(frozen=True, slots=True)
class Ingest:
    """The intakes of usage and targets for ``api``, and the services that write both to the store."""

    intake: Intake
    registrar: Registrar
    services: Sequence[Service]
    phases: Sequence[Phase]
    writers: Sequence[StoreWriter]

    def merge_into(self, readiness: Readiness) -> Readiness:
        """``readiness``, degraded while the store does not accept something."""
        for one in self.writers:
            readiness = one.merge_into(readiness)
        return readiness


@dataclass(frozen=True, slots=True)
class Forwarding:
    """The services that send from the store to Harness, their shutdown phase, and the usage ``sent``."""

    services: Sequence[Service]
    phases: Sequence[Phase]
    sent: UsageTally | None


def make_ingest(options: ProxyOptions, store: ServedStore, context: ProcessContext) -> Ingest:
    """The intakes into the store, if enabled by the options; offline both drop everything."""
    clock, shares, telemetry = context.clock, context.shares, context.telemetry
    services: list[Service] = []
    phases: list[Phase] = []
    writers: list[StoreWriter] = []
    intake: Intake = NullIntake(telemetry, budget=shares.usage_buffer)
    registrar: Registrar = NullTargetIntake()
    if isinstance(options, OfflineOptions):
        return Ingest(intake, registrar, services, phases, writers)
    deadline = options.serving.shutdown.deadline
    if options.usage.post_interval is not None:
        intake = usage = UsageIntake(
            store.usage,
            clock,
            telemetry,
            budget=shares.usage_buffer,
            local_counts=options.usage.ofrep,
        )
        services.append(usage)
        writers.append(usage.writer)
        phases.append(Phase("usage intake", deadline, usage.last_flush))
    # A replica always stores targets; the members that follow Harness decide whether to send them.
    if isinstance(options, ReplicaOptions) or options.upstream.forward_targets:
        registrar = targets = TargetIntake(store.registrations, clock, telemetry, budget=shares.registrations)
        services.append(targets)
        writers.append(targets.writer)
        phases.append(Phase("target intake", deadline, targets.last_flush))
    return Ingest(intake, registrar, services, phases, writers)


def make_forwarding(
    options: OnlineOptions,
    store: StoreFacets,
    sink: HarnessSink,
    sends: Callable[[EnvironmentId], bool],
    given_up: Callable[[EnvironmentId], bool],
    context: ProcessContext,
) -> Forwarding:
    """The forwarders from the store to Harness, if enabled by the options.

    ``sends`` says whether this process sends an environment's usage, ``given_up`` whether its targets can no
    longer be sent.
    """
    clock, random, telemetry = context.clock, context.random, context.telemetry
    services: list[Service] = []
    phases: list[Phase] = []
    sent: UsageTally | None = None
    if options.usage.post_interval is not None:
        sent = UsageTally(clock, context.shares.usage_tally, telemetry.dropped("usage_tally"))
        forwarder = UsageForwarder(
            store.usage,
            sink,
            options.usage.post_interval,
            clock,
            random,
            telemetry,
            owns=sends,
            accepted=sent.add,
        )
        services.append(forwarder)
        phases.append(Phase("usage", options.serving.shutdown.deadline, forwarder.flush))
    if options.upstream.forward_targets:
        services.append(
            RegistrationForwarder(store.registrations, sink, clock, random, telemetry, given_up=given_up)
        )
    return Forwarding(services, phases, sent)
