"""What is known of one environment from two sides, neither of which may be older in everything.

A store can go back to an earlier state: a dump is restored, a replica that lags is promoted. Item versions
never fall, so the newer of each item is known whatever else was lost, and joining once more changes nothing.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from ff_proxy.model.environment import Domain, EnvironmentConfig, Item
from ff_proxy.store.merge import bounded, retired_name
from ff_proxy.wire.normalise import with_version


class _Known(NamedTuple):
    """What one side knows of an identifier: the item, or ``None`` if it is gone since that version."""

    version: int
    item: Item | None


def joined(held: EnvironmentConfig, found: EnvironmentConfig, *, older: bool) -> EnvironmentConfig:
    """The newer of each item of both.

    Args:
        held: what is known here.
        found: what the store has.
        older: whether ``found`` as a whole was written before ``held``: then keys and everything else that
            has no version are those of ``held``.

    Returns ``found`` itself if it has everything, ``held`` itself if that does; else with the revision of
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
        retired=bounded(retired),
        revision=found.revision,
    )
    for side in (found, held):
        if _same(side, result):
            return side
    return result


def _known(config: EnvironmentConfig, domain: Domain) -> Mapping[str, _Known]:
    items = config.flags if domain is Domain.FLAG else config.segments
    known = {name: _Known(item.version, item) for name, item in items.items()}
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
        # An item that is made again starts above the version it was deleted under.
        return _Known(held.version, None)
    if held.item.digest == found.item.digest:
        return found
    # One version, two contents: a write was lost, and another took its number. SDKs that have seen either
    # take neither, so the later one gets a number of its own.
    version = held.version + 1
    return _Known(version, with_version(held.item if older else found.item, version))


def _same(side: EnvironmentConfig, result: EnvironmentConfig) -> bool:
    return msgspec.structs.replace(side, revision=result.revision) == result
