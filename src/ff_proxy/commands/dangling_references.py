"""Warnings about references to things that do not exist; they break nothing, but do not work as intended."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from ff_proxy.evaluation.clauses import groups_matched, groups_named
from ff_proxy.model.feature import FeatureConfig, Segment, Serve
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.offline.format import OfflineEnvironment, Reading
from ff_proxy.offline.layout import Location, Part
from ff_proxy.offline.problems import Problem, Severity
from ff_proxy.wire.config import read_feature, read_segment

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def dangling(readings: Iterable[Reading]) -> list[Problem]:
    """Warnings about references within each environment, and about keys of several environments."""
    problems: list[Problem] = []
    owners: dict[SdkKeyHash, EnvironmentId] = {}
    for reading in readings:
        if reading.environment is not None:
            problems += _in_environment(reading.location, reading.environment)
            problems += _shared_keys(reading.location, reading.environment, owners)
    return problems


def _in_environment(location: Location, environment: OfflineEnvironment) -> Iterator[Problem]:
    config = environment.config
    if not config.keys:
        yield _warning(location, Part.KEYS, "", "no SDK key opens this environment")
    if not _UUID.fullmatch(config.id):
        text = f"the environment id {config.id!r} is no UUID: some SDKs then repeat refused usage for ever"
        yield Problem(Severity.WARNING, str(location.path), "", text)
    flags = {name: read_feature(item.wire) for name, item in config.flags.items()}
    segments = {name: read_segment(item.wire) for name, item in config.segments.items()}
    for name, flag in flags.items():
        for text in _of_flag(flag, flags, segments):
            yield _warning(location, Part.FLAGS, name, text)
    for name, segment in segments.items():
        for missing in sorted(_matched(segment) - set(segments)):
            text = f"a rule names target group {missing!r}, which is not there"
            yield _warning(location, Part.SEGMENTS, name, text)


def _of_flag(
    flag: FeatureConfig, flags: Mapping[str, FeatureConfig], segments: Mapping[str, Segment]
) -> Iterator[str]:
    known = {variation.identifier for variation in flag.variations}
    served = {flag.off_variation, *_variations(flag.default_serve)}
    served |= {name for rule in flag.rules for name in _variations(rule.serve)}
    served |= {mapped.variation for mapped in flag.variation_map}
    for missing in sorted(served - known):
        yield f"it serves variation {missing!r}, which it does not have"
    for missing in sorted(groups_named(flag) - set(segments)):
        yield f"it names target group {missing!r}, which is not there"
    for needed in flag.prerequisites:
        other = flags.get(needed.feature)
        if other is None:
            yield f"it needs flag {needed.feature!r}, which is not there"
            continue
        for missing in sorted(set(needed.variations) - {one.identifier for one in other.variations}):
            yield f"it needs variation {missing!r} of flag {needed.feature!r}, which that does not have"


def _variations(serve: Serve) -> Iterator[str]:
    if serve.distribution is not None:
        yield from (weighted.variation for weighted in serve.distribution.variations)
    elif serve.variation is not None:
        yield serve.variation


def _matched(segment: Segment) -> set[str]:
    return groups_matched(
        [*segment.rules, *(clause for rule in segment.serving_rules for clause in rule.clauses)]
    )


def _shared_keys(
    location: Location, environment: OfflineEnvironment, owners: dict[SdkKeyHash, EnvironmentId]
) -> Iterator[Problem]:
    for key in sorted(environment.config.keys):
        owner = owners.setdefault(key, environment.config.id)
        if owner != environment.config.id:
            text = f"this key is also one of environment {owner}; it will open only one of the two"
            yield _warning(location, Part.KEYS, key, text)


def _warning(location: Location, part: Part, place: str, text: str) -> Problem:
    names = location.files_of(part)
    path = location.path / names[0] if names else location.path
    return Problem(Severity.WARNING, str(path), place, text)
