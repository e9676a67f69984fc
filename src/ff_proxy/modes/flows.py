"""What flows up: usage and target registrations, from web through the store's queues to SaaS."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ff_proxy.config.records import OnlineOptions
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.time import Clock
from ff_proxy.modes.saas import Saas
from ff_proxy.runtime.services import Phase, Service
from ff_proxy.store.protocol import Store
from ff_proxy.telemetry import Telemetry
from ff_proxy.usage.forward import UsageForwarder
from ff_proxy.usage.intake import Intake, NullIntake, UsageIntake
from ff_proxy.usage.register import RegistrationForwarder
from ff_proxy.web.needs import Registrar
from ff_proxy.web.registrar import NoRegistrar, QueueRegistrar


@dataclass(frozen=True, slots=True)
class Flows:
    """Where web hands things in, the services that take them on, and the last steps before the end."""

    intake: Intake
    registrar: Registrar
    services: Sequence[Service]
    flush: Sequence[Phase]


def make_flows(
    options: OnlineOptions,
    store: Store,
    saas: Saas,
    leads: Callable[[EnvironmentId], bool],
    clock: Clock,
    telemetry: Telemetry,
) -> Flows:
    """Both flows, or stand-ins for those that are switched off; ``leads`` says whose usage is sent here."""
    services: list[Service] = []
    flush: list[Phase] = []
    intake: Intake = NullIntake(telemetry)
    registrar: Registrar = NoRegistrar()
    chance = random.SystemRandom()
    if options.usage.post_interval is not None:
        taken = UsageIntake(store.usage, clock, telemetry)
        forwarder = UsageForwarder(
            store.usage, saas.usage, options.usage.post_interval, clock, chance, telemetry, owns=leads
        )

        async def deliver(seconds: float) -> None:
            await taken.flush()
            await forwarder.flush(seconds)

        intake = taken
        services += [taken, forwarder]
        flush.append(Phase("usage", options.serving.shutdown.deadline, deliver))
    if options.upstream.forward_targets:
        registrar = QueueRegistrar(store.registrations, telemetry)
        services.append(
            RegistrationForwarder(store.registrations, saas.registrations, clock, chance, telemetry)
        )
    return Flows(intake, registrar, services, flush)
