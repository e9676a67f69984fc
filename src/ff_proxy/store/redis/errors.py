"""Translating errors of Redis and the network, with advice."""

import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Final

import msgspec
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    AuthorizationError,
    BusyLoadingError,
    InvalidResponse,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
)

from ff_proxy.aio.border import border, described
from ff_proxy.errors import StoreMisconfigured, StoreUnavailable, StoreUnreadable

_Advice = tuple[tuple[type[BaseException], ...], tuple[str, ...], str]

# Configuration errors: by the library's class, or by text where it has none or where a script reports it.
_MISTAKES: Final[Sequence[_Advice]] = (
    (
        (AuthenticationError, AuthenticationWrongNumberOfArgsError, AuthorizationError),
        ("WRONGPASS", "NOAUTH", "invalid username-password", "invalid password", "AUTH <password>"),
        "check redis-username and redis-password",
    ),
    (
        (NoPermissionError,),
        ("ACL failure", "can't run this command", "NOPERM"),
        "give the user of redis-username these rights in its ACL, on keys and channels of redis-prefix",
    ),
    (
        (),
        ("DB index is out of range", "SELECT is not allowed in cluster mode"),
        "check redis-db: a Cluster has database 0 only, and a server as many as it is configured for",
    ),
    (
        (),
        ("Cluster mode is not enabled", "cluster support disabled"),
        "several addresses mean a Cluster: name one of a plain Redis, or redis+sentinel://host1,host2/service",
    ),
    (
        (ssl.SSLCertVerificationError,),
        ("CERTIFICATE_VERIFY_FAILED",),
        "set SSL_CERT_FILE to the authority that signed Redis' certificate, and name the host that it is for",
    ),
    (
        (ssl.SSLError,),
        ("WRONG_VERSION_NUMBER", "record layer failure"),
        "rediss:// in redis-address means TLS, redis:// means none: does the port speak the other?",
    ),
    (
        (InvalidResponse,),
        ("Protocol Error", "Protocol error"),
        "check the port in redis-address: what answers there is not a Redis",
    ),
    (
        (),
        ("unknown command",),
        "is it a Sentinel? Write redis+sentinel://host/service. Or older than Redis 6.2?",
    ),
)
_ADVICE: Final[Sequence[_Advice]] = (
    (
        (OutOfMemoryError,),
        ("OOM command not allowed",),
        "give it more maxmemory, with maxmemory-policy noeviction",
    ),
    (
        (ReadOnlyError,),
        ("READONLY", "read only replica"),
        "this is a replica: name the primary, or the Sentinels that know it",
    ),
    (
        (MasterNotFoundError,),
        ("No master found",),
        "SENTINEL MASTERS lists the names that can stand behind the slash in redis-address",
    ),
    (
        (socket.gaierror,),
        ("Name or service not known", "name resolution"),
        "check the host name in redis-address, and the DNS of this machine",
    ),
    (
        (),
        ("Timeout connecting",),
        "does it speak TLS there, as rediss:// means, and does a firewall let the port pass?",
    ),
    ((MovedError,), ("MOVED ",), "this is a node of a Cluster: the other nodes are used from now on"),
    ((BusyLoadingError,), ("LOADING",), "it is loading its data and answers after that"),
    ((), ("BUSY ",), "a script blocks it: SCRIPT KILL ends it"),
    ((), ("MISCONF",), "it refuses writes while it cannot save its data: check its disk"),
    ((), ("NOREPLICAS",), "it refuses writes while replicas are missing: see min-replicas-to-write"),
    ((), ("WRONGTYPE",), "a key is of another kind: does another program use the same redis-prefix?"),
    (
        (),
        ("CLUSTERDOWN", "not covered", "cannot be connected"),
        "see CLUSTER INFO: are its nodes up, and all slots assigned?",
    ),
)
# Errors of uvloop and the library when a connection is closed between two of their steps.
_CLOSED: Final = ("closed", "'NoneType' object has no attribute 'write")


def translated() -> AbstractContextManager[None]:
    """Translate errors of Redis, the network and parsing into ``StoreUnavailable``.

    Configuration errors become ``StoreMisconfigured``. Cancellations pass through.
    """
    return border(_ours)


def _ours(error: Exception) -> StoreUnavailable:
    if isinstance(error, msgspec.MsgspecError | ValueError) and not isinstance(error, RedisError | OSError):
        return StoreUnreadable(
            f"Redis holds something that cannot be read ({error}): "
            "did another version of ff-proxy, or another program, write under the same redis-prefix?"
        )
    text = described(error)
    if not isinstance(error, RedisError | RedisClusterException | OSError):
        closed = any(mark in text for mark in _CLOSED)
        # A bug in the library: report its type.
        text = "the connection was closed" if closed else f"the client failed: {type(error).__name__}: {text}"
    for kinds, advice in ((StoreMisconfigured, _MISTAKES), (StoreUnavailable, _ADVICE)):
        hint = _hint(error, text, advice)
        if hint is not None:
            return kinds(f"Redis: {text} ({hint})", reported=True)
    return StoreUnavailable(f"Redis: {text}", reported=True)


def _hint(error: Exception, text: str, advice: Sequence[_Advice]) -> str | None:
    for kinds, marks, hint in advice:
        if any(isinstance(cause, kinds) for cause in _causes(error)) or any(mark in text for mark in marks):
            return hint
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    # The library wraps a refusal met while connecting in a plain connection error.
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
