"""Items as fields of a Redis hash: encoding rows, and building environments from them."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.environment import (
    Action,
    Change,
    Domain,
    EnvironmentConfig,
    EnvironmentInfo,
    Item,
    RecentChange,
    Revision,
    StreamState,
    UpstreamStatus,
)
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.store.merge import Difference, bounded_retired, retired_name, split_name
from ff_proxy.store.protocol import Notice
from ff_proxy.store.redis.errors import translated


class Row(msgspec.Struct, frozen=True, array_like=True):
    """An item, or without ``wire`` the last version of a deleted one.

    ``changed`` is the wall-clock second of its change, 0 for items that came with the environment.
    """

    version: int
    digest: str
    changed: float
    wire: bytes | None


# Lua counts no further.
_MOST: Final = 2**53 - 1
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Row).decode


def changed(old: EnvironmentConfig | None, change: Difference, now: float) -> Iterator[tuple[str, bytes]]:
    """Fields and rows that ``change`` writes; the items of a new environment are not changes."""
    at = 0.0 if old is None else now
    for item in change.changed:
        yield _field(item), _encode(Row(item.version, item.digest, at, item.wire))
    for name, version in change.retired.items():
        yield name, _encode(Row(version, "", at, None))


def applied(
    fields: Sequence[bytes], held: EnvironmentConfig | None
) -> tuple[Mapping[str, Item], Mapping[str, Item], Mapping[str, int]]:
    """Flags, segments and retired versions after applying ``fields`` (field, row, field, …) to ``held``."""
    flags = {} if held is None else dict(held.flags)
    segments = {} if held is None else dict(held.segments)
    retired = {} if held is None else dict(held.retired)
    vanished = []
    for domain, identifier, row in _pairs(fields):
        items = flags if domain is Domain.FLAG else segments
        name = retired_name(domain, identifier)
        retired.pop(name, None)
        if row.wire is None:
            items.pop(identifier, None)
            vanished.append((row.changed, name, row.version))
        else:
            items[identifier] = Item(domain, identifier, row.version, row.wire, row.digest)
    retired.update({name: version for _, name, version in sorted(vanished)})
    return flags, segments, bounded_retired(retired)


def environment(answer: Sequence[Any], held: EnvironmentConfig | None) -> EnvironmentConfig:
    """An environment from epoch, counter, info, keys, since and rows: all, or what changed since ``held``."""
    epoch, counter, info, keys, since, moved = answer
    flags, segments, retired = applied(moved, held)
    return EnvironmentConfig(
        info=msgspec.json.decode(info, type=EnvironmentInfo),
        flags=flags,
        segments=segments,
        keys=frozenset(SdkKeyHash(key) for key in msgspec.json.decode(keys, type=list[str])),
        revision=Revision(epoch.decode(), int(counter)),
        retired=retired,
        since=float(since),
    )


def number(text: bytes) -> int:
    """A counter or fencing number; raises ``ValueError`` if it cannot be one."""
    found = int(text)
    if not 0 <= found <= _MOST:
        raise ValueError(f"{found} is out of range")
    return found


def revision(state: Any) -> Revision | StoreUnavailable | None:
    """The revision from epoch and counter, or the error that prevents it; ``None`` if they are missing."""
    if isinstance(state, StoreUnavailable):
        return state
    epoch, counter = state or (None, b"")
    if epoch is None:
        return None
    try:
        with translated():
            return Revision(epoch.decode(), number(counter))
    except StoreUnavailable as error:
        return error


def notice(payload: bytes) -> Notice | None:
    """A published notice; ``None`` if another program published it."""
    name, *revision = payload.decode("utf-8", "replace").split("\n")
    if not revision:
        return Notice(EnvironmentId(name), None)
    try:
        epoch, counter = revision
        return Notice(EnvironmentId(name), Revision(epoch, int(counter)))
    except ValueError:
        return None


async def notices(payloads: AsyncIterator[bytes]) -> AsyncIterator[Notice]:
    """Published notices, as they arrive."""
    async for payload in payloads:
        found = notice(payload)
        if found is not None:
            yield found


def recent(fields: Sequence[bytes], since: float) -> Sequence[RecentChange]:
    """The changes among rows that happened after ``since``, oldest first."""
    found = [
        RecentChange(
            row.changed,
            Change(Action.DELETE if row.wire is None else Action.PATCH, domain, identifier, row.version),
        )
        for domain, identifier, row in _pairs(fields)
        if row.changed > since
    ]
    return sorted(found, key=lambda entry: entry.at)


def status(stored: bytes, reporter: int, lease: bytes | None) -> UpstreamStatus:
    """A status that was reported under the fencing number ``reporter`` (0: without a lease).

    When that lease has ended, the status is unknown until the next leader reports.
    """
    reported = msgspec.json.decode(stored, type=UpstreamStatus)
    current = 0 if lease is None else int(lease.rpartition(b"|")[2])
    if reporter in {0, current}:
        return reported
    nobody = "nobody follows Harness for it now"
    return UpstreamStatus(
        StreamState.INITIALIZING,
        reported.since,
        detail=nobody,
        trouble=nobody,
        confirmed=reported.confirmed,
    )


def _field(item: Item) -> str:
    return retired_name(item.domain, item.identifier)


def _pairs(fields: Sequence[bytes]) -> Iterator[tuple[Domain, str, Row]]:
    for field, row in zip(fields[::2], fields[1::2], strict=True):
        try:
            domain, identifier = split_name(field.decode())
        except ValueError:
            continue  # not the name of an item: another program wrote it
        yield domain, identifier, _decode(row)
