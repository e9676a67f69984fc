"""Registers this proxy as a member of its fleet."""

import socket
from collections.abc import Callable, Sequence

from ff_proxy import __version__
from ff_proxy.app.observability import speaks_for_all
from ff_proxy.app.process import ProcessContext, process_count
from ff_proxy.app.roles import ServingRole, Sync
from ff_proxy.app.start_lines import MODES, address_of
from ff_proxy.model.member import FleetMember, fingerprint
from ff_proxy.model.readiness import Readiness
from ff_proxy.store.fleet_presence import FleetPresence
from ff_proxy.store.protocol import FleetMembers


def make_presence(
    role: ServingRole | Sync,
    members: FleetMembers | None,
    readiness: Callable[[], Readiness],
    context: ProcessContext,
) -> Sequence[FleetPresence]:
    """The service that registers this proxy in its fleet, in the one process that reports for all."""
    if members is None or not speaks_for_all(role):
        return ()
    options, clock = role.options, context.clock
    member = FleetMember(
        id=members.own,
        host=socket.gethostname(),
        address=address_of(options.serving),
        mode=MODES[type(options)],
        version=__version__,
        started=clock.wall(),
        processes=process_count(options),
        signs_with=fingerprint(options.serving.tokens.secret),
    )
    return [FleetPresence(members, member, readiness, clock, context.telemetry)]
