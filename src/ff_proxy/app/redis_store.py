"""The configured Redis store; imported only where Redis is used."""

from secrets import token_hex

from ff_proxy.app.observability import make_trust
from ff_proxy.app.process import ProcessContext
from ff_proxy.config.records import RedisStoreOptions
from ff_proxy.store.redis import Endpoint, RedisStore


def redis_store(
    options: RedisStoreOptions, context: ProcessContext, *, namespace: str = "", member: str = ""
) -> RedisStore:
    """The shared store, not yet open; ``member`` is the name that holds its leases.

    A process without leases needs a name too: without one it could write what others lead.
    """
    return RedisStore(
        redis_endpoint(options, context),
        f"{options.prefix}:{namespace}" if namespace else options.prefix,
        token_hex(16),
        context.clock,
        context.telemetry,
        member=member or token_hex(16),
        shares=context.shares,
    )


def redis_endpoint(options: RedisStoreOptions, context: ProcessContext) -> Endpoint:
    """The configured Redis endpoint; raises ``StartupError`` if the trusted CAs cannot be loaded."""
    address = options.address
    return Endpoint(
        topology=address.topology,
        nodes=tuple((node.host, node.port) for node in address.nodes),
        socket="" if address.socket is None else str(address.socket),
        service=address.service,
        trust=make_trust(context) if address.tls else None,
        username=options.username,
        password=options.password,
        database=options.database,
    )
