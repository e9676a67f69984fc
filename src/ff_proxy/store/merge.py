"""How writes are merged, by every adapter, so that item versions and targets never go back.

A changed item gets a version above every one that its identifier ever had here; an unchanged item stays the
same object. (spec/sdk-wire#event-reactions c: SDKs ignore an item whose version is not higher than the one
they hold.)
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from ff_proxy.model.environment import Domain, EnvironmentConfig, Item
from ff_proxy.model.target import Target
from ff_proxy.store.protocol import DropItem, Edit, PutItem
from ff_proxy.wire.normalise import with_version
from ff_proxy.wire.stored import DescribedTarget, is_newer, same_target

RETIRED: Final = 5_000
"""The number of deleted items whose last version an environment remembers."""


def merge(old: EnvironmentConfig | None, new: EnvironmentConfig) -> EnvironmentConfig:
    """Merge ``new`` over ``old``; returns ``old`` itself if nothing changes.

    The result carries ``old``'s revision (or ``NEVER``): the adapter sets the next one.
    """
    if old is None:
        return msgspec.structs.replace(new, retired={})
    retired = dict(old.retired)
    flags = _merge_items(old.flags, new.flags, retired)
    segments = _merge_items(old.segments, new.segments, retired)
    if flags is old.flags and segments is old.segments and new.keys == old.keys and new.info == old.info:
        return old
    return EnvironmentConfig(
        info=new.info,
        flags=flags,
        segments=segments,
        keys=new.keys,
        revision=old.revision,
        retired=bounded_retired(retired),
        since=old.since,
    )


def apply_edit(old: EnvironmentConfig, edit: Edit) -> EnvironmentConfig:
    """Apply one edit to ``old``; returns ``old`` itself if nothing changes."""
    if isinstance(edit, PutItem):
        return _put(old, edit.item)
    if isinstance(edit, DropItem):
        return _drop(old, edit.domain, edit.identifier)
    return old if edit.keys == old.keys else msgspec.structs.replace(old, keys=edit.keys)


def retired_name(domain: Domain, identifier: str) -> str:
    """The key under which a deleted item's last version is remembered."""
    return f"{domain.value}:{identifier}"


def split_name(name: str) -> tuple[Domain, str]:
    """The domain and identifier in a ``retired_name``."""
    domain, _, identifier = name.partition(":")
    return Domain(domain), identifier


class Difference(NamedTuple):
    """What turns one state of an environment into another.

    ``changed`` are new items and new contents; ``gone`` are the deleted ones as they were. ``retired`` are
    the versions of deleted items to remember, those of ``gone`` included, and ``forgotten`` those that are
    not remembered any more, both by ``retired_name``.
    """

    changed: Sequence[Item]
    gone: Sequence[Item]
    retired: Mapping[str, int]
    forgotten: Sequence[str]


def difference(old: EnvironmentConfig | None, new: EnvironmentConfig) -> Difference:
    """From ``old``, or from nothing, to ``new``, by identity: ``merge`` keeps what is equal."""
    changed: list[Item] = []
    gone: list[Item] = []
    for kind in Domain:
        before, after = {} if old is None else old.items(kind), new.items(kind)
        changed += [item for name, item in after.items() if before.get(name) is not item]
        gone += [item for name, item in before.items() if name not in after]
    known = {} if old is None else old.retired
    retired = {retired_name(item.domain, item.identifier): item.version for item in gone}
    forgotten: list[str] = []
    if known is not new.retired:
        retired.update({name: version for name, version in new.retired.items() if known.get(name) != version})
        for name in known:
            if name not in new.retired:
                domain, identifier = split_name(name)
                if identifier not in new.items(domain):
                    forgotten.append(name)
    return Difference(changed, gone, retired, forgotten)


def bounded_retired(retired: dict[str, int]) -> dict[str, int]:
    """The last ``RETIRED`` of ``retired``, which is in order of deletion."""
    excess = len(retired) - RETIRED
    return dict(islice(retired.items(), excess, None)) if excess > 0 else retired


def _put(old: EnvironmentConfig, item: Item) -> EnvironmentConfig:
    items = old.items(item.domain)
    retired = dict(old.retired)
    with_higher_version = _with_higher_version(items.get(item.identifier), item, retired)
    if with_higher_version is items.get(item.identifier):
        return old
    return _with_items(old, item.domain, {**items, item.identifier: with_higher_version}, retired)


def _drop(old: EnvironmentConfig, domain: Domain, identifier: str) -> EnvironmentConfig:
    items = old.items(domain)
    gone = items.get(identifier)
    if gone is None:
        return old
    kept = {name: item for name, item in items.items() if name != identifier}
    retired = bounded_retired({**old.retired, retired_name(domain, identifier): gone.version})
    return _with_items(old, domain, kept, retired)


def _with_items(
    old: EnvironmentConfig, domain: Domain, items: Mapping[str, Item], retired: Mapping[str, int]
) -> EnvironmentConfig:
    if domain is Domain.FLAG:
        return msgspec.structs.replace(old, flags=items, retired=retired)
    return msgspec.structs.replace(old, segments=items, retired=retired)


def _merge_items(
    old: Mapping[str, Item], new: Mapping[str, Item], retired: dict[str, int]
) -> Mapping[str, Item]:
    """The merged mapping (``old`` itself if nothing changed); updates ``retired``."""
    merged = {
        identifier: _with_higher_version(old.get(identifier), item, retired)
        for identifier, item in new.items()
    }
    for identifier, item in old.items():
        if identifier not in merged:
            retired[retired_name(item.domain, identifier)] = item.version
    unchanged = len(merged) == len(old) and all(merged.get(name) is item for name, item in old.items())
    return old if unchanged else merged


def _with_higher_version(held: Item | None, item: Item, retired: dict[str, int]) -> Item:
    if held is None:
        last = retired.pop(retired_name(item.domain, item.identifier), None)
        return item if last is None else with_version(item, max(item.version, last + 1))
    if held.digest == item.digest and item.version <= held.version:
        return held
    if held.digest == item.digest:
        return item
    return with_version(item, max(item.version, held.version + 1))


def merge_target(
    held: DescribedTarget | None,
    target: Target,
    now: int,
    *,
    keep_attributes: bool = False,
    described_at: int | None = None,
) -> DescribedTarget:
    """The target after ``Targets.put`` at ``described_at``; ``held`` if it stays.

    The newest target's time is always above the previous one, whatever clocks say (``now`` is in epoch
    milliseconds).
    """
    if held is None:
        return DescribedTarget(target, now if described_at is None else described_at)
    if keep_attributes:
        target = msgspec.structs.replace(target, attributes=held.target.attributes)
    if same_target(held.target, target):
        return held
    if described_at is None:
        return DescribedTarget(target, max(now, held.at + 1))
    late = DescribedTarget(target, described_at)
    return late if is_newer(late, held) else held
