"""What flows up: usage and target registrations, from web through the store's queues to SaaS."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ff_proxy.config.records import OnlineOptions, ShutdownOptions, UsageOptions
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.time import Clock
from ff_proxy.modes.saas import Saas
from ff_proxy.runtime.services import Phase, Service
from ff_proxy.store.protocol import RegistrationTaker, Store, UsageTaker
from ff_proxy.telemetry import Telemetry
from ff_proxy.usage.forward import UsageForwarder
from ff_proxy.usage.intake import Intake, NullIntake, UsageIntake
from ff_proxy.usage.register import RegistrationForwarder
from ff_proxy.web.needs import Registrar
from ff_proxy.web.registrar import NoRegistrar, QueueRegistrar


@dataclass(frozen=True, slots=True)
class Taking:
    """Where web hands usage in, the services that take it into the store, and their last step."""

    intake: Intake
    services: Sequence[Service]
    flush: Sequence[Phase]


@dataclass(frozen=True, slots=True)
class Forwarding:
    """The services that take things from the store to SaaS, and their last step."""

    services: Sequence[Service]
    flush: Sequence[Phase]


def take_usage(
    options: UsageOptions, shutdown: ShutdownOptions, queue: UsageTaker, clock: Clock, telemetry: Telemetry
) -> Taking:
    """Usage into the store, or a stand-in if it is switched off."""
    if options.post_interval is None:
        return Taking(NullIntake(telemetry), (), ())
    taken = UsageIntake(queue, clock, telemetry)
    return Taking(taken, [taken], [Phase("usage taken", shutdown.deadline, lambda _: taken.flush())])


def take_targets(options: OnlineOptions, queue: RegistrationTaker, telemetry: Telemetry) -> Registrar:
    """Targets into the store's queue, or a stand-in if SaaS is to be told of none."""
    return QueueRegistrar(queue, telemetry) if options.upstream.forward_targets else NoRegistrar()


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
