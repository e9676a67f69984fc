"""What Redis and the network raise, in the house's words and with what to do about it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)

from ff_proxy.errors import StoreUnavailable
from ff_proxy.store.redis.cancelling import cancellation_heard

# The kinds that the library tells apart, and the text where it does not or where a script says it.
_ADVICE: Final[Sequence[tuple[tuple[type[Exception], ...], tuple[str, ...], str]]] = (
    (
        (AuthenticationError, AuthorizationError, NoPermissionError),
        ("ACL failure", "can't run this command"),
        "check redis-username, redis-password and its ACL",
    ),
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
    ((BusyLoadingError,), ("LOADING",), "it answers when it has read its data"),
    ((), ("BUSY ",), "somebody's script holds it up, SCRIPT KILL ends one"),
    ((), ("MISCONF",), "it takes no writes while it cannot save its data: look at its disk"),
    ((), ("NOREPLICAS",), "it takes no writes while replicas are missing: see min-replicas-to-write"),
    ((), ("WRONGTYPE",), "a key is of another kind: does another program use the same redis-prefix?"),
)


@contextmanager
def translated() -> Iterator[None]:
    """What Redis or the network raises inside becomes ``StoreUnavailable``, as does what cannot be read.

    A cancellation stays one.
    """
    try:
        with cancellation_heard():
            yield
    except (RedisError, OSError, TimeoutError) as error:
        raise StoreUnavailable(f"Redis: {_words(error)}") from error
    except (RuntimeError, AttributeError) as error:
        # What uvloop and the library say of a connection that somebody else ended between two of its steps.
        if "closed" not in str(error) and "'NoneType' object has no attribute 'write" not in str(error):
            raise
        raise StoreUnavailable("Redis: the connection was closed") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise StoreUnavailable(
            f"Redis holds something that cannot be read ({error}): "
            "did another version of ff-proxy, or another program, write under the same redis-prefix?"
        ) from error


def _words(error: Exception) -> str:
    text = str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
    for kinds, marks, advice in _ADVICE:
        if any(isinstance(cause, kinds) for cause in _causes(error)) or any(mark in text for mark in marks):
            return f"{text} ({advice})"
    return text


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    # The library wraps a refusal met while connecting in a plain connection error.
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
