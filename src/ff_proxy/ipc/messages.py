"""The messages on the socket, as MessagePack.

Every request has its own type and a fixed type of result; errors are sent as ``Failure``. Notices follow
``Watch``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ff_proxy.aio.border import border, described
from ff_proxy.errors import StoreRefused, StoreUnavailable
from ff_proxy.ipc.frames import MAX_FRAME_BYTES
from ff_proxy.model.environment import Domain, EnvironmentInfo, Item, Revision
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.model.readiness import Readiness
from ff_proxy.model.target import Target
from ff_proxy.model.usage import UsageCount, UsageTarget
from ff_proxy.store.protocol import Registration


class Environments(msgspec.Struct, frozen=True, tag=True):
    """``ConfigReader.environments``."""


class Environment(msgspec.Struct, frozen=True, tag=True):
    """``ConfigReader.environment``; ``known`` is the revision that the worker has from this connection."""

    environment: EnvironmentId
    known: Revision | None


class Recent(msgspec.Struct, frozen=True, tag=True):
    """``ConfigReader.recent``."""

    environment: EnvironmentId
    since: float


class Statuses(msgspec.Struct, frozen=True, tag=True):
    """``StatusStore.statuses``."""


class Watch(msgspec.Struct, frozen=True, tag=True):
    """Turn notices on."""


class GetTarget(msgspec.Struct, frozen=True, tag=True):
    """``TargetStore.get``."""

    environment: EnvironmentId
    identifier: str


class EveryTarget(msgspec.Struct, frozen=True, tag=True):
    """``TargetStore.every``."""

    environment: EnvironmentId


class PutTarget(msgspec.Struct, frozen=True, tag=True):
    """``TargetStore.put``."""

    environment: EnvironmentId
    target: Target
    keep_attributes: bool
    described_at: int | None = None


class MergeUsage(msgspec.Struct, frozen=True, tag=True):
    """``UsageQueue.merge``."""

    counts: Sequence[UsageCount]
    targets: Sequence[UsageTarget]
    name: str


class AddRegistration(msgspec.Struct, frozen=True, tag=True):
    """``Registrations.add``."""

    registration: Registration


class CheckKey(msgspec.Struct, frozen=True, tag=True):
    """Check an unknown key with Harness."""

    key: str


class GetSecret(msgspec.Struct, frozen=True, tag=True):
    """The secret that signs tokens."""


class GetState(msgspec.Struct, frozen=True, tag=True):
    """Get the state of the sync process."""


Request = (
    Environments
    | Environment
    | Recent
    | Statuses
    | Watch
    | GetTarget
    | EveryTarget
    | PutTarget
    | MergeUsage
    | AddRegistration
    | CheckKey
    | GetSecret
    | GetState
)


class State(msgspec.Struct, frozen=True):
    """The state of the sync process; ``held`` are the environments that its store has.

    ``environments`` are listed by ``/health``, and are all that can be served if ``settled``; ``standalone``
    are in its memory until the shared store answers.
    """

    readiness: Readiness
    environments: frozenset[EnvironmentId]
    held: frozenset[EnvironmentId]
    standalone: frozenset[EnvironmentId] = frozenset()
    settled: bool = False


class EnvironmentDelta(msgspec.Struct, frozen=True):
    """An environment as the difference to what the worker has; ``whole`` if it has nothing."""

    whole: bool
    info: EnvironmentInfo
    revision: Revision
    keys: frozenset[SdkKeyHash]
    since: float
    changed: Sequence[Item]
    gone: Sequence[tuple[Domain, str]]
    retired: Mapping[str, int]


class Failure(msgspec.Struct, frozen=True):
    """The store failed; ``final``: a retry would fail too (``StoreRefused``)."""

    problem: str
    final: bool = False


class RequestMessage(msgspec.Struct, frozen=True, array_like=True):
    """A request, numbered to match its response."""

    number: int
    request: Request


class ResponseMessage(msgspec.Struct, frozen=True, array_like=True):
    """A response: ``failure`` or ``result`` (MessagePack of the request's result type)."""

    number: int
    failure: Failure | None
    result: msgspec.Raw


NOTICES: Final = 0
"""The number of notices."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_request: Final = msgspec.msgpack.Decoder(RequestMessage).decode
_decode_response: Final = msgspec.msgpack.Decoder(ResponseMessage).decode


def encode(message: object) -> bytes:
    """Encode a message or result; raises ``StoreRefused`` for values that MessagePack does not support."""
    with border(_unwritable):
        content = _encode(message)
    if len(content) > MAX_FRAME_BYTES:
        raise StoreRefused(f"a message of {len(content)} bytes for another process of this proxy")
    return content


def decode(result: msgspec.Raw, kind: Any) -> Any:
    """Decode a result as ``kind``; raises ``StoreUnavailable`` if it is malformed."""
    with border(_unreadable):
        return msgspec.msgpack.decode(result, type=kind)


def decode_request(frame: bytes) -> RequestMessage:
    """Decode a worker's request; raises ``StoreUnavailable`` if it is malformed."""
    with border(_unreadable):
        return _decode_request(frame)


def decode_response(frame: bytes) -> ResponseMessage:
    """Decode a response; raises ``StoreUnavailable`` if it is malformed."""
    with border(_unreadable):
        return _decode_response(frame)


def _unreadable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"a message of another process of this proxy cannot be read: {described(error)}")


def _unwritable(error: Exception) -> StoreRefused:
    return StoreRefused(f"a message for another process of this proxy: {described(error)}")
