"""What goes over the socket: one frame per message, MessagePack behind its length.

Every request is a record of its own type and names the type of its answer; a failure is answered with
``Failure``. Notices come unasked, once ``Watch`` was sent.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from ff_proxy.aio.border import border, described
from ff_proxy.errors import StoreRefused, StoreUnavailable
from ff_proxy.model.environment import (
    EnvironmentConfig,
    EnvironmentInfo,
    Item,
    RecentChange,
    Revision,
    UpstreamStatus,
)
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.model.readiness import Readiness
from ff_proxy.model.target import Target
from ff_proxy.model.usage import UsageCount, UsageTarget
from ff_proxy.store.protocol import Notice, Registration, UsageLease

_LENGTH: Final = 4
_LONGEST: Final = 512 * 1024 * 1024


class Environments(msgspec.Struct, frozen=True, tag=True):
    """``ConfigReader.environments``."""


class Environment(msgspec.Struct, frozen=True, tag=True):
    """``ConfigReader.environment``; ``known`` is what the asker holds of it from this connection."""

    environment: EnvironmentId
    known: Revision | None


class Recent(msgspec.Struct, frozen=True, tag=True):
    """``ConfigReader.recent``."""

    environment: EnvironmentId
    since: float


class Statuses(msgspec.Struct, frozen=True, tag=True):
    """``StatusStore.statuses``."""


class Watch(msgspec.Struct, frozen=True, tag=True):
    """Send notices from now on."""


class GetTarget(msgspec.Struct, frozen=True, tag=True):
    """``TargetStore.get``."""

    environment: EnvironmentId
    identifier: str


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


class AddRegistration(msgspec.Struct, frozen=True, tag=True):
    """``Registrations.add``."""

    registration: Registration


class CheckKey(msgspec.Struct, frozen=True, tag=True):
    """Ask whoever is connected to SaaS about a key that nobody here knows."""

    key: str


class AskSecret(msgspec.Struct, frozen=True, tag=True):
    """The secret that signs tokens."""


class AskState(msgspec.Struct, frozen=True, tag=True):
    """How the sync process is doing."""


Request = (
    Environments
    | Environment
    | Recent
    | Statuses
    | Watch
    | GetTarget
    | PutTarget
    | MergeUsage
    | AddRegistration
    | CheckKey
    | AskSecret
    | AskState
)


class State(msgspec.Struct, frozen=True):
    """How the sync process is doing: ``held`` are the environments that it holds.

    ``environments`` are those that ``/health`` speaks of, ``alone`` those that it keeps in its memory until a
    shared store answers.
    """

    readiness: Readiness
    environments: frozenset[EnvironmentId]
    held: frozenset[EnvironmentId]
    alone: frozenset[EnvironmentId] = frozenset()


class Part(msgspec.Struct, frozen=True):
    """An environment as the difference to what the asker holds; ``whole`` if it holds nothing."""

    whole: bool
    info: EnvironmentInfo
    revision: Revision
    keys: frozenset[SdkKeyHash]
    since: float
    changed: Sequence[Item]
    gone_flags: Sequence[str]
    gone_segments: Sequence[str]
    retired: Mapping[str, int]


class Failure(msgspec.Struct, frozen=True):
    """The store at the other end could not do it; ``final``: and never will (``StoreRefused``)."""

    problem: str
    final: bool = False


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """A request under a number that its answer carries."""

    number: int
    request: Request


class Answered(msgspec.Struct, frozen=True, array_like=True):
    """An answer: ``failure`` or ``result`` (MessagePack of the type that the request calls for)."""

    number: int
    failure: Failure | None
    result: msgspec.Raw


NOTICES: Final = 0
"""The number under which notices come."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_asked: Final = msgspec.msgpack.Decoder(Asked).decode
_decode_answered: Final = msgspec.msgpack.Decoder(Answered).decode


def encode(message: object) -> bytes:
    """A message, or an answer's result; raises ``StoreRefused`` if it holds what cannot be carried."""
    with border(_unwritable):
        content = _encode(message)
    if len(content) > _LONGEST:
        raise StoreRefused(f"a message of {len(content)} bytes for another process of this proxy")
    return content


def decode(result: msgspec.Raw, kind: Any) -> Any:
    """A result as ``kind``; raises ``StoreUnavailable`` if it is none."""
    with border(_unreadable):
        return msgspec.msgpack.decode(result, type=kind)


def decode_asked(frame: bytes) -> Asked:
    """What a worker asks; raises ``StoreUnavailable`` if it cannot be read."""
    with border(_unreadable):
        return _decode_asked(frame)


def decode_answered(frame: bytes) -> Answered:
    """What the sync process answers; raises ``StoreUnavailable`` if it cannot be read."""
    with border(_unreadable):
        return _decode_answered(frame)


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """One frame's content; raises ``StoreUnavailable`` when the other end is gone."""
    with border(_gone):
        length = int.from_bytes(await reader.readexactly(_LENGTH), "big")
        if length > _LONGEST:
            raise StoreUnavailable(f"a message of {length} bytes from another process of this proxy")
        return await reader.readexactly(length)


def write_frame(writer: asyncio.StreamWriter, message: object) -> None:
    """Queue one frame for sending; if the other end is gone it is dropped: whoever reads finds out.

    Raises ``StoreRefused`` as ``encode`` does, before anything is written.
    """
    content = encode(message)
    if writer.is_closing():
        return  # uvloop's transports would not take it
    with suppress(OSError, RuntimeError):  # it closes at this very moment
        writer.write(len(content).to_bytes(_LENGTH, "big") + content)


def _unreadable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"a message of another process of this proxy cannot be read: {described(error)}")


def _unwritable(error: Exception) -> StoreRefused:
    return StoreRefused(f"a message for another process of this proxy: {described(error)}")


def _gone(_: Exception) -> StoreUnavailable:
    return StoreUnavailable("the process that holds the store is gone")


def difference(old: EnvironmentConfig | None, new: EnvironmentConfig) -> Part:
    """What turns ``old`` into ``new``, found by identity: the store keeps what does not change."""
    changed: list[Item] = []
    gone: list[list[str]] = []
    for before, after in (
        ({} if old is None else old.flags, new.flags),
        ({} if old is None else old.segments, new.segments),
    ):
        changed += [item for name, item in after.items() if before.get(name) is not item]
        gone.append([name for name in before if name not in after])
    return Part(
        old is None, new.info, new.revision, new.keys, new.since, changed, gone[0], gone[1], new.retired
    )


__all__ = [
    "NOTICES",
    "AddRegistration",
    "Answered",
    "AskSecret",
    "AskState",
    "Asked",
    "CheckKey",
    "Environment",
    "Environments",
    "Failure",
    "GetTarget",
    "MergeUsage",
    "Notice",
    "Part",
    "PutTarget",
    "Recent",
    "RecentChange",
    "Request",
    "State",
    "Statuses",
    "UpstreamStatus",
    "UsageLease",
    "Watch",
    "decode",
    "decode_answered",
    "decode_asked",
    "difference",
    "encode",
    "read_frame",
    "write_frame",
]
