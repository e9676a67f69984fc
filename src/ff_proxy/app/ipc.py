"""The server through which workers use the sync process."""

from collections.abc import Callable
from functools import partial

from ff_proxy.app.backend import Backend, Source
from ff_proxy.app.process import ProcessContext
from ff_proxy.app.roles import Sync
from ff_proxy.app.signing import signing_secret
from ff_proxy.ipc import IpcServer, State, WorkerServices
from ff_proxy.model.readiness import Readiness
from ff_proxy.store.known_environments import KnownEnvironments
from ff_proxy.store.protocol import StoreFacets


def make_ipc_server(
    role: Sync,
    backend: Backend[StoreFacets],
    source: Source,
    known: KnownEnvironments,
    readiness: Callable[[], Readiness],
    context: ProcessContext,
) -> IpcServer:
    """The server that workers call: the store, and the state that only the sync process has."""
    store = backend.store

    async def state() -> State:
        await known.poll()
        return State(
            readiness(),
            frozenset(source.environments()),
            frozenset(source.expected()),
            frozenset(source.standalone()),
            source.settled(),
        )

    services = WorkerServices(
        configs=store.configs,
        targets=store.targets,
        usage=store.usage,
        registrations=store.registrations,
        check_key=source.key_checker.check,
        secret=partial(signing_secret, role.options.serving.tokens, store.secrets, context),
        state=state,
    )
    runtime = role.runtime
    return IpcServer(runtime.socket, services, runtime.generations, context.clock, context.telemetry.failures)
