"""Joining two states of one environment, where each may have newer items.

A store can go back to an earlier state: a dump is restored, or a lagging replica is promoted. Item versions
never fall, so they tell which of two items is newer, and joining again changes nothing.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from ff_proxy.model.environment import Domain, EnvironmentConfig, Item
from ff_proxy.store.merge import bounded_retired, retired_name
from ff_proxy.wire.normalise import with_version


class _Known(NamedTuple):
    """One side's item, or ``None`` if it was deleted after that version."""

    version: int
    item: Item | None


def joined(held: EnvironmentConfig, found: EnvironmentConfig, *, older: bool) -> EnvironmentConfig:
    """Join two states: the newer of each item.

    Args:
        held: the state here.
        found: the state in the store.
        older: whether ``found`` was written before ``held``; then keys and other unversioned data are taken
        from ``held``.

    Returns ``found`` or ``held`` itself if it is complete; otherwise a new state with the revision of
    ``found``.
    """
    retired: dict[str, int] = {}
    sides: dict[Domain, dict[str, Item]] = {}
    for domain in Domain:
        items = sides[domain] = {}
        left, right = _known(held, domain), _known(found, domain)
        for name in {**right, **left}:
            newest = _newer(left.get(name), right.get(name), older=older)
            if newest.item is None:
                retired[retired_name(domain, name)] = newest.version
            else:
                items[name] = newest.item
    base = held if older else found
    result = msgspec.structs.replace(
        base,
        flags=sides[Domain.FLAG],
        segments=sides[Domain.SEGMENT],
        retired=bounded_retired(retired),
        revision=found.revision,
    )
    for side in (found, held):
        if _same(side, result):
            return side
    return result


def _known(config: EnvironmentConfig, domain: Domain) -> Mapping[str, _Known]:
    known = {name: _Known(item.version, item) for name, item in config.items(domain).items()}
    known.update(_gone(config, domain))
    return known


def _gone(config: EnvironmentConfig, domain: Domain) -> Iterator[tuple[str, _Known]]:
    start = retired_name(domain, "")
    for name, version in config.retired.items():
        if name.startswith(start):
            yield name[len(start) :], _Known(version, None)


def _newer(held: _Known | None, found: _Known | None, *, older: bool) -> _Known:
    if held is None or found is None:
        one = found if held is None else held
        assert one is not None  # noqa: S101  (the name is of one of them)
        return one
    if held.version != found.version:
        return max(held, found, key=lambda side: side.version)
    if held.item is None or found.item is None:
        # A recreated item starts above its last version.
        return _Known(held.version, None)
    if held.item.digest == found.item.digest:
        return found
    # One version with two contents: a write was lost, and another one got its version. SDKs that have one
    # would ignore the other, so the later one gets a new version.
    version = held.version + 1
    return _Known(version, with_version(held.item if older else found.item, version))


def _same(side: EnvironmentConfig, result: EnvironmentConfig) -> bool:
    return msgspec.structs.replace(side, revision=result.revision) == result
