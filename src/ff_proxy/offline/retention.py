"""What of an offline directory is in force, given what was seen of it and when.

What was served stays served until it is replaced or removed on purpose: nothing is withdrawn before it was
absent for the grace period from a directory that can be read, and nothing changes for any other reason.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from ff_proxy.model.environment import EnvironmentConfig, EnvironmentInfo
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.offline.directory import DirectoryReading
from ff_proxy.offline.format import OfflineEnvironment, Reading
from ff_proxy.offline.layout import YAML_SUFFIXES, FileSignature, Location, Part
from ff_proxy.offline.problems import Severity

_SETTLING_SECONDS: Final = 1.0
_SHOWN: Final = 10
_Absence = tuple[EnvironmentId, Part | None]
_Value = TypeVar("_Value")


class Source(msgspec.Struct, frozen=True):
    """The file that a part in force was read from.

    ``shadowed`` are the other files of that part that were there and not read. ``device`` is ``None`` if
    nobody knows where the part comes from.
    """

    name: str
    device: int | None
    shadowed: frozenset[FileSignature] = frozenset()


class _InForce(msgspec.Struct, frozen=True):
    """An environment in force, what it was made of, and why it is not all that its files say."""

    environment: OfflineEnvironment
    sources: Mapping[Part, Source]
    reading: Reading | None = None
    kept: frozenset[Part] = frozenset()
    trouble: str = ""


class Retention:
    """Decides what is in force.

    Args:
        root: the directory, as people know it.
        grace: seconds for which something must be absent before it is withdrawn.
    """

    def __init__(self, root: str, grace: float) -> None:
        self._root = root
        self._grace = grace
        self._in_force: dict[EnvironmentId, _InForce] = {}
        self._known: dict[EnvironmentId, Location] = {}
        self._latest: dict[EnvironmentId, Reading] = {}
        self._settling: dict[EnvironmentId, tuple[Reading, float]] = {}
        self._absent: dict[_Absence, float] = {}
        self._troubles: dict[str, str] = {}

    @property
    def environments(self) -> Mapping[EnvironmentId, OfflineEnvironment]:
        """What is to be served."""
        return {name: one.environment for name, one in self._in_force.items()}

    @property
    def known(self) -> Mapping[EnvironmentId, Location]:
        """Where each environment was found last, so that only what changed since is read."""
        return self._known

    @property
    def troubles(self) -> Mapping[str, str]:
        """Why what is in force is not what the directory says now: sentences by what they are about."""
        return self._troubles

    @property
    def next_look(self) -> float | None:
        """When looking again may change something though the directory does not; monotonic seconds."""
        withdrawn = (since + self._grace for since in self._absent.values())
        settled = (since + _SETTLING_SECONDS for _, since in self._settling.values())
        return min((*withdrawn, *settled), default=None)

    def resume(self, configs: Iterable[EnvironmentConfig]) -> None:
        """Keep what a predecessor had brought into force; the targets that it had read are not known."""
        for config in configs:
            parts = ((Part.FLAGS, config.flags), (Part.SEGMENTS, config.segments), (Part.KEYS, config.keys))
            sources = {part: Source("", None) for part, content in parts if content}
            self._in_force[config.id] = _InForce(OfflineEnvironment(config, ()), sources)

    def cannot_look(self, why: str) -> None:
        """The directory cannot be read at all: everything stays, and nothing counts as absent."""
        self._absent = {}
        self._troubles = {**self._standing_troubles(), self._root: why}

    def observe(self, reading: DirectoryReading, now: float) -> None:
        """Take in what is in the directory at ``now`` (monotonic seconds)."""
        there = {location.environment: location for location in reading.locations}
        self._take(reading.readings, now)
        self._settle(there, now)
        troubles = {one.path: str(one) for one in reading.problems if one.severity is Severity.BROKEN}
        absent, kept = self._missing_parts(there, troubles)
        absent |= self._missing_environments(reading, troubles)
        self._absent = {one: self._absent.get(one, now) for one in absent}
        for one in [one for one, since in self._absent.items() if now - since >= self._grace]:
            del self._absent[one]
            if one[1] is None:
                self._withdraw(one[0])
        for environment in there:
            missing = {part for name, part in self._absent if name == environment and part is not None}
            self._bring_into_force(environment, kept.get(environment, set()) | missing)
        for environment, part in self._absent:
            what = "it is" if part is None else f"its {part.value} is"
            text = f"environment {environment}: {what} missing; withdrawn after {self._grace:g} s"
            troubles.setdefault(_subject(environment, part), text)
        self._troubles = {**self._standing_troubles(), **troubles}

    def _take(self, readings: Iterable[Reading], now: float) -> None:
        for reading in readings:
            location = reading.location
            environment = location.environment
            unread = msgspec.structs.replace(location, signature=())
            self._known[environment] = location if reading.complete else unread
            in_yaml = any(name.endswith(YAML_SUFFIXES) for name in reading.files.values())
            if in_yaml and reading.environment is not None and environment in self._in_force:
                self._settling[environment] = reading, now
            else:
                self._settling.pop(environment, None)
                self._latest[environment] = reading

    def _settle(self, there: Mapping[EnvironmentId, Location], now: float) -> None:
        # Half of a YAML file is YAML as well: one that is still being written must be waited for.
        for environment, (reading, since) in list(self._settling.items()):
            if now - since >= _SETTLING_SECONDS and there.get(environment) == reading.location:
                del self._settling[environment]
                self._latest[environment] = reading

    def _missing_environments(self, reading: DirectoryReading, troubles: dict[str, str]) -> set[_Absence]:
        there = {location.environment for location in reading.locations} | reading.disputed
        # Where a predecessor found an environment nobody knows: any directory may have held it.
        unseen = next(iter(troubles.values()), "")
        absent: set[_Absence] = set()
        for environment in self._in_force.keys() - there:
            why = reading.missing.get(environment, unseen)
            if why and environment in self._known and _covered(self._known[environment].path, troubles):
                continue  # said once, of the directory
            if why:
                troubles[environment] = f"environment {environment} cannot be found: {why}"
            elif there:
                absent.add((environment, None))
            else:
                troubles[self._root] = f"{self._root}: no environment is left in it; is a volume not mounted?"
        return absent

    def _missing_parts(
        self, there: Iterable[EnvironmentId], troubles: dict[str, str]
    ) -> tuple[set[_Absence], dict[EnvironmentId, set[Part]]]:
        """Parts whose files were removed, and those that must stay for another reason."""
        absent: set[_Absence] = set()
        kept: dict[EnvironmentId, set[Part]] = {}
        for environment in there:
            held, latest = self._in_force.get(environment), self._latest.get(environment)
            if held is None or latest is None or latest.environment is None:
                continue
            for part, source in held.sources.items():
                if not _is_missing(part, source, latest):
                    continue
                if source.device in {None, latest.location.device}:
                    absent.add((environment, part))
                    continue
                kept.setdefault(environment, set()).add(part)
                text = f"{latest.location.path}: the volume that held {source.name} is not mounted"
                troubles[_subject(environment, part)] = text
        return absent, kept

    def _bring_into_force(self, environment: EnvironmentId, kept: AbstractSet[Part]) -> None:
        held, latest = self._in_force.get(environment), self._latest.get(environment)
        if latest is None or latest.environment is None:
            return
        if held is None:
            self._in_force[environment] = _InForce(latest.environment, _sources(latest), latest)
        elif held.reading is not latest or held.kept != kept:
            made, retained = _merged(held.environment, latest.environment, kept, latest.rejected)
            sources = _sources(latest) | {part: held.sources[part] for part in kept}
            trouble = f"{latest.location.path}: what cannot be read stays as it was: {retained}"
            self._in_force[environment] = _InForce(
                made, sources, latest, frozenset(kept), trouble if retained else ""
            )

    def _withdraw(self, environment: EnvironmentId) -> None:
        del self._in_force[environment]
        self._known.pop(environment, None)
        self._latest.pop(environment, None)
        self._settling.pop(environment, None)

    def _standing_troubles(self) -> dict[str, str]:
        """What is wrong inside of environments, as it was read last."""
        troubles: dict[str, str] = {name: one.trouble for name, one in self._in_force.items() if one.trouble}
        for environment, reading in self._latest.items():
            if reading.environment is None:
                broken = [str(one) for one in reading.problems if one.severity is Severity.BROKEN]
                troubles[environment] = "; ".join(broken)
        return troubles


def _subject(environment: EnvironmentId, part: Part | None) -> str:
    return environment if part is None else f"{environment}/{part.value}"


def _covered(path: Path, troubles: Mapping[str, str]) -> bool:
    """Whether a trouble is about ``path`` or a directory above it."""
    return any(str(place) in troubles for place in (path, *path.parents))


def _is_missing(part: Part, source: Source, latest: Reading) -> bool:
    """Whether the file of a part is gone, and nothing new has taken its place."""
    name = latest.files.get(part)
    if name is None:
        return True
    location = latest.location
    if name == source.name or source.name in location.files_of(part):
        return False
    return any(entry[0] == name and entry in source.shadowed for entry in location.signature)


def _sources(reading: Reading) -> dict[Part, Source]:
    location = reading.location
    return {
        part: Source(
            name,
            location.device,
            frozenset(one for one in location.signature if one[0] in location.files_of(part)[1:]),
        )
        for part, name in reading.files.items()
    }


def _merged(
    before: OfflineEnvironment,
    now: OfflineEnvironment,
    kept: AbstractSet[Part],
    rejected: Mapping[Part, frozenset[str]],
) -> tuple[OfflineEnvironment, str]:
    """What is there ``now``, with ``kept`` parts and entries that cannot be read as they were ``before``.

    The second value names the entries that were retained.
    """
    old, new = before.config, now.config
    flags = _retained(old.flags, new.flags, rejected.get(Part.FLAGS))
    segments = _retained(old.segments, new.segments, rejected.get(Part.SEGMENTS))
    keys = frozenset(_retained(_by_name(old.keys), _by_name(new.keys), rejected.get(Part.KEYS)).values())
    config = msgspec.structs.replace(
        new,
        info=_completed(new.info, old.info) if kept else new.info,
        flags=old.flags if Part.FLAGS in kept else {**new.flags, **flags},
        segments=old.segments if Part.SEGMENTS in kept else {**new.segments, **segments},
        keys=old.keys if Part.KEYS in kept else new.keys | keys,
    )
    targets = before.targets if Part.TARGETS in kept else now.targets
    names = [*flags, *segments, *(["SDK keys"] if keys else [])]
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if names[_SHOWN:] else "")
    return OfflineEnvironment(config, targets), shown


def _retained(
    before: Mapping[str, _Value], now: Mapping[str, _Value], rejected: frozenset[str] | None
) -> dict[str, _Value]:
    """Entries that vanished because they cannot be read; one without a name may be any of those gone."""
    if not rejected:
        return {}
    gone = before.keys() - now.keys()
    return {name: before[name] for name in (gone if "" in rejected else gone & rejected)}


def _by_name(keys: frozenset[SdkKeyHash]) -> dict[str, SdkKeyHash]:
    return {str(key): key for key in keys}


def _completed(info: EnvironmentInfo, before: EnvironmentInfo) -> EnvironmentInfo:
    texts = {name: getattr(info, name) or getattr(before, name) for name in info.__struct_fields__}
    return msgspec.structs.replace(info, **texts)
