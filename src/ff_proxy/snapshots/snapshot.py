"""An environment compiled for serving: immutable, and cheap to derive from the previous snapshot."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Final, TypeVar

import msgspec

from ff_proxy.evaluation import Engine, compile_engine
from ff_proxy.model.environment import (
    Action,
    Change,
    Domain,
    EnvironmentConfig,
    EnvironmentInfo,
    Item,
    Revision,
)
from ff_proxy.model.feature import FeatureConfig, Segment
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.snapshots.encoded_body import EncodedBody
from ff_proxy.wire.config import read_feature, read_segment
from ff_proxy.wire.normalise import segment_forms


class CompileOptions(msgspec.Struct, frozen=True):
    """The operator's options about serving: ``and-rules`` and ``json-values``."""

    and_rules: bool = True
    escape_json: bool = False


class _Flag:
    """A flag's two forms: for the wire and, parsed on first use, for the engine."""

    def __init__(self, item: Item) -> None:
        self.item: Final = item
        self.body: Final = EncodedBody(item.wire)

    @cached_property
    def record(self) -> FeatureConfig:
        return read_feature(self.item.wire)


class _Segment:
    """A segment for callers without and with ``rules=v2``."""

    def __init__(self, item: Item, options: CompileOptions) -> None:
        self.item: Final = item
        legacy, v2 = segment_forms(item.wire)
        self.legacy: Final = EncodedBody(legacy)
        # With and-rules=false no SDK gets serving rules (spec/behaviour#options).
        self.v2: Final = EncodedBody(v2) if options.and_rules and v2 != legacy else self.legacy

    @cached_property
    def record(self) -> Segment:
        return read_segment(self.item.wire)


class Snapshot:
    """The data from which requests about one environment are answered.

    Bulk bodies, ETags and the engine are computed on first use. Items that are the same as in ``previous``
    are reused, so the cost of a change is that of the changed items.

    Attributes:
        since: when the store first had the environment, in wall-clock seconds.
    """

    def __init__(
        self,
        config: EnvironmentConfig,
        options: CompileOptions,
        *,
        previous: "Snapshot | None" = None,
    ) -> None:
        self.environment: Final[EnvironmentId] = config.id
        self.info: Final[EnvironmentInfo] = config.info
        self.revision: Final[Revision] = config.revision
        self.keys: Final[frozenset[SdkKeyHash]] = config.keys
        self.since: Final[float] = config.since
        self._options: Final = options
        flags: Mapping[str, _Flag] = {}
        segments: Mapping[str, _Segment] = {}
        if previous is not None:
            flags, segments = previous._flags, previous._segments  # noqa: SLF001  (another instance of this class)
        self._flags: Final[Mapping[str, _Flag]] = _compile_items(config.flags, flags, _Flag)
        self._segments: Final[Mapping[str, _Segment]] = _compile_items(
            config.segments, segments, lambda item: _Segment(item, options)
        )
        # Keep the previous engine if there is one, but not the snapshot: that would chain all snapshots.
        self._previous_engine = None if previous is None else previous.__dict__.get("engine")

    @cached_property
    def flags(self) -> EncodedBody:
        """Every flag, as a JSON array ordered by identifier."""
        return EncodedBody.array(flag.item.wire for flag in self._flags.values())

    def flag(self, identifier: str) -> EncodedBody | None:
        """One flag."""
        flag = self._flags.get(identifier)
        return None if flag is None else flag.body

    @cached_property
    def legacy_segments(self) -> EncodedBody:
        """Every segment for a caller without ``rules=v2``."""
        return EncodedBody.array(segment.legacy.content for segment in self._segments.values())

    @cached_property
    def v2_segments(self) -> EncodedBody:
        """Every segment for a caller with ``rules=v2``."""
        return EncodedBody.array(segment.v2.content for segment in self._segments.values())

    def segments(self, *, rules_v2: bool) -> EncodedBody:
        """Every segment, as a JSON array ordered by identifier."""
        return self.v2_segments if rules_v2 else self.legacy_segments

    def segment(self, identifier: str, *, rules_v2: bool) -> EncodedBody | None:
        """One segment."""
        segment = self._segments.get(identifier)
        if segment is None:
            return None
        return segment.v2 if rules_v2 else segment.legacy

    @cached_property
    def engine(self) -> Engine:
        """The environment's flags and segments, compiled for evaluation."""
        previous, self._previous_engine = self._previous_engine, None
        return compile_engine(
            {name: flag.record for name, flag in self._flags.items()},
            {name: segment.record for name, segment in self._segments.items()},
            and_rules=self._options.and_rules,
            escape_json=self._options.escape_json,
            previous=previous,
        )

    def version(self, domain: Domain, identifier: str) -> int | None:
        """The version of an item, or ``None`` if the environment has no such item."""
        part = self.items(domain).get(identifier)
        return None if part is None else part.item.version

    def all_as_patches(self) -> tuple[Change, ...]:
        """One ``patch`` per flag and segment, for a stream that may have missed changes.

        See spec/behaviour#stream-pacing.
        """
        return tuple(
            Change(Action.PATCH, domain, name, part.item.version)
            for domain in (Domain.SEGMENT, Domain.FLAG)
            for name, part in self.items(domain).items()
        )

    def changes_since(self, previous: "Snapshot") -> tuple[Change, ...]:
        """The changes for an SDK that has ``previous``; segments come before the flags that use them."""
        return tuple(
            change
            for domain in (Domain.SEGMENT, Domain.FLAG)
            for change in _differences(domain, previous.items(domain), self.items(domain))
        )

    def items(self, domain: Domain) -> Mapping[str, "_Flag | _Segment"]:
        """The compiled items of one domain, by identifier, in order."""
        return self._flags if domain is Domain.FLAG else self._segments


_Part = TypeVar("_Part", _Flag, _Segment)


def _compile_items(
    items: Mapping[str, Item], previous: Mapping[str, _Part], compile_item: Callable[[Item], _Part]
) -> Mapping[str, _Part]:
    """Compile the items, ordered by name; equal items keep their compiled object."""
    if items.keys() == previous.keys():
        # Usually one item among many changed: only that one is compared again.
        changed = [name for name, part in previous.items() if part.item is not items[name]]
        rebuilt = {
            name: compile_item(items[name])
            for name in changed
            if not _same_content(previous[name].item, items[name])
        }
        return {**previous, **rebuilt}
    return {
        name: part
        if (part := previous.get(name)) is not None and _same_content(part.item, items[name])
        else compile_item(items[name])
        for name in sorted(items)
    }


def _same_content(one: Item, other: Item) -> bool:
    return one is other or (one.digest == other.digest and one.version == other.version)


def _differences(
    domain: Domain, old: Mapping[str, _Flag | _Segment], new: Mapping[str, _Flag | _Segment]
) -> list[Change]:
    changes = []
    for name, part in new.items():
        previous = old.get(name)
        if previous is None:
            changes.append(Change(Action.CREATE, domain, name, part.item.version))
        elif previous is not part and not _same_content(previous.item, part.item):
            changes.append(Change(Action.PATCH, domain, name, part.item.version))
    changes.extend(
        Change(Action.DELETE, domain, name, removed.item.version)
        for name, removed in old.items()
        if name not in new
    )
    return changes
