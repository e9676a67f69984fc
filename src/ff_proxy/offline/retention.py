"""Which content of an offline directory is active, given what was read and when.

Content stays active until it is replaced or deliberately removed: only something that is absent from a
readable directory for the grace period is removed.
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

_STABLE_SECONDS: Final = 1.0
_MAX_LISTED: Final = 10
_Absence = tuple[EnvironmentId, Part | None]
_Value = TypeVar("_Value")


class Source(msgspec.Struct, frozen=True):
    """The file that an active part was read from.

    ``shadowed`` are other files of the part that were present but not read. ``device`` is ``None`` if the
    part's origin is unknown.
    """

    name: str
    device: int | None
    shadowed: frozenset[FileSignature] = frozenset()


class _ActiveEnvironment(msgspec.Struct, frozen=True):
    """An active environment, its sources, and why it differs from its files, if it does."""

    environment: OfflineEnvironment
    sources: Mapping[Part, Source]
    reading: Reading | None = None
    retained: frozenset[Part] = frozenset()
    problem: str = ""


class Retention:
    """Decides which content is active.

    Args:
        root: the directory's name in messages.
        grace: seconds for which something must be absent before it is removed.
    """

    def __init__(self, root: str, grace: float) -> None:
        self._root = root
        self._grace = grace
        self._active: dict[EnvironmentId, _ActiveEnvironment] = {}
        self._locations: dict[EnvironmentId, Location] = {}
        self._latest: dict[EnvironmentId, Reading] = {}
        self._unstable: dict[EnvironmentId, tuple[Reading, float]] = {}
        self._absent: dict[_Absence, float] = {}
        self._problems: dict[str, str] = {}

    @property
    def environments(self) -> Mapping[EnvironmentId, OfflineEnvironment]:
        """The environments to serve."""
        return {name: one.environment for name, one in self._active.items()}

    @property
    def locations(self) -> Mapping[EnvironmentId, Location]:
        """Where each environment was last found, so that only changes are read."""
        return self._locations

    @property
    def problems(self) -> Mapping[str, str]:
        """Why the active content differs from the directory: sentences by subject."""
        return self._problems

    @property
    def next_scan(self) -> float | None:
        """When a scan may change something even if the directory does not change; monotonic seconds."""
        removals = (since + self._grace for since in self._absent.values())
        stable = (since + _STABLE_SECONDS for _, since in self._unstable.values())
        return min((*removals, *stable), default=None)

    def resume(self, configs: Iterable[EnvironmentConfig]) -> None:
        """Continue with what the previous process had active; the targets it had read are unknown."""
        for config in configs:
            parts = ((Part.FLAGS, config.flags), (Part.SEGMENTS, config.segments), (Part.KEYS, config.keys))
            sources = {part: Source("", None) for part, content in parts if content}
            self._active[config.id] = _ActiveEnvironment(OfflineEnvironment(config, ()), sources)

    def scan_failed(self, reason: str) -> None:
        """The directory cannot be read: everything stays active, and nothing counts as absent."""
        self._absent = {}
        self._accept_stable(present={}, now=0.0)
        self._problems = {**self._content_problems(), self._root: reason}

    def update(self, reading: DirectoryReading, now: float) -> None:
        """Update with the content of the directory at ``now`` (monotonic seconds)."""
        present = {location.environment: location for location in reading.locations}
        self._collect(reading.readings, now)
        self._accept_stable(present, now)
        problems = {one.path: str(one) for one in reading.problems if one.severity is Severity.BROKEN}
        absent, retained = self._missing_parts(present, problems)
        absent |= self._missing_environments(reading, problems)
        self._absent = {one: self._absent.get(one, now) for one in absent}
        for one in [one for one, since in self._absent.items() if now - since >= self._grace]:
            del self._absent[one]
            if one[1] is None:
                self._remove(one[0])
        for environment in present:
            missing = {part for name, part in self._absent if name == environment and part is not None}
            self._activate(environment, retained.get(environment, set()) | missing)
        for environment, part in self._absent:
            what = "it is" if part is None else f"its {part.value} is"
            text = f"environment {environment}: {what} missing and will be removed after {self._grace:g} s"
            problems.setdefault(_subject(environment, part), text)
        self._problems = {**self._content_problems(), **problems}

    def _collect(self, readings: Iterable[Reading], now: float) -> None:
        for reading in readings:
            location = reading.location
            environment = location.environment
            unread = msgspec.structs.replace(location, signature=())
            self._locations[environment] = location if reading.complete else unread
            in_yaml = any(name.endswith(YAML_SUFFIXES) for name in reading.files.values())
            if in_yaml and reading.environment is not None and environment in self._active:
                self._unstable[environment] = reading, now
            else:
                self._unstable.pop(environment, None)
                self._latest[environment] = reading

    def _accept_stable(self, present: Mapping[EnvironmentId, Location], now: float) -> None:
        # Half of a YAML file is also YAML, so wait until the file no longer changes.
        for environment, (reading, since) in list(self._unstable.items()):
            if environment not in present:
                # To be read again once it is back; scanning for it all the time would not help.
                del self._unstable[environment]
                self._locations[environment] = msgspec.structs.replace(reading.location, signature=())
            elif now - since >= _STABLE_SECONDS and present[environment] == reading.location:
                del self._unstable[environment]
                self._latest[environment] = reading

    def _missing_environments(self, reading: DirectoryReading, problems: dict[str, str]) -> set[_Absence]:
        present = {location.environment for location in reading.locations} | reading.duplicates
        # The previous process's locations are unknown: any unreadable directory may contain the environment.
        unknown_reason = next(iter(problems.values()), "")
        absent: set[_Absence] = set()
        for environment in self._active.keys() - present:
            reason = reading.missing.get(environment, unknown_reason)
            if (
                reason
                and environment in self._locations
                and _is_below_problem(self._locations[environment].path, problems)
            ):
                continue  # reported once, for the directory
            if reason:
                problems[environment] = f"environment {environment} cannot be found: {reason}"
            elif present:
                absent.add((environment, None))
            else:
                problems[self._root] = f"{self._root}: no environment is left in it; is a volume not mounted?"
        return absent

    def _missing_parts(
        self, present: Iterable[EnvironmentId], problems: dict[str, str]
    ) -> tuple[set[_Absence], dict[EnvironmentId, set[Part]]]:
        """Parts whose files were removed, and parts that must stay for another reason."""
        absent: set[_Absence] = set()
        retained: dict[EnvironmentId, set[Part]] = {}
        for environment in present:
            active, latest = self._active.get(environment), self._latest.get(environment)
            if active is None or latest is None or latest.environment is None:
                continue
            for part, source in active.sources.items():
                if not _is_missing(part, source, latest):
                    continue
                if source.device in {None, latest.location.device}:
                    absent.add((environment, part))
                    continue
                retained.setdefault(environment, set()).add(part)
                text = f"{latest.location.path}: the volume of {source.name} is not mounted"
                problems[_subject(environment, part)] = text
        return absent, retained

    def _activate(self, environment: EnvironmentId, retained: AbstractSet[Part]) -> None:
        active, latest = self._active.get(environment), self._latest.get(environment)
        if latest is None or latest.environment is None:
            return
        if active is None:
            self._active[environment] = _ActiveEnvironment(latest.environment, _sources(latest), latest)
        elif active.reading is not latest or active.retained != retained:
            made, retained_names = _merge(active.environment, latest.environment, retained, latest.rejected)
            sources = _sources(latest) | {part: active.sources[part] for part in retained}
            problem = f"{latest.location.path}: unreadable entries keep their last state: {retained_names}"
            self._active[environment] = _ActiveEnvironment(
                made, sources, latest, frozenset(retained), problem if retained_names else ""
            )

    def _remove(self, environment: EnvironmentId) -> None:
        del self._active[environment]
        self._locations.pop(environment, None)
        self._latest.pop(environment, None)
        self._unstable.pop(environment, None)

    def _content_problems(self) -> dict[str, str]:
        """The problems inside environments, from their last reading."""
        problems: dict[str, str] = {name: one.problem for name, one in self._active.items() if one.problem}
        for environment, reading in self._latest.items():
            if reading.environment is None:
                broken = [str(one) for one in reading.problems if one.severity is Severity.BROKEN]
                problems[environment] = "; ".join(broken)
        return problems


def _subject(environment: EnvironmentId, part: Part | None) -> str:
    return environment if part is None else f"{environment}/{part.value}"


def _is_below_problem(path: Path, problems: Mapping[str, str]) -> bool:
    """Whether a problem is about ``path`` or a directory above it."""
    return any(str(place) in problems for place in (path, *path.parents))


def _is_missing(part: Part, source: Source, latest: Reading) -> bool:
    """Whether the file of a part was removed and not replaced."""
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


def _merge(
    before: OfflineEnvironment,
    now: OfflineEnvironment,
    retained: AbstractSet[Part],
    rejected: Mapping[Part, frozenset[str]],
) -> tuple[OfflineEnvironment, str]:
    """The content ``now``, with ``retained`` parts and unreadable entries as they were ``before``.

    The second value names the entries that were retained.
    """
    old, new = before.config, now.config
    flags = _retained_entries(old.flags, new.flags, rejected.get(Part.FLAGS))
    segments = _retained_entries(old.segments, new.segments, rejected.get(Part.SEGMENTS))
    keys = frozenset(
        _retained_entries(_by_name(old.keys), _by_name(new.keys), rejected.get(Part.KEYS)).values()
    )
    config = msgspec.structs.replace(
        new,
        info=_fill_in(new.info, old.info) if retained else new.info,
        flags=old.flags if Part.FLAGS in retained else {**new.flags, **flags},
        segments=old.segments if Part.SEGMENTS in retained else {**new.segments, **segments},
        keys=old.keys if Part.KEYS in retained else new.keys | keys,
    )
    targets = before.targets if Part.TARGETS in retained else now.targets
    names = [*flags, *segments, *(["SDK keys"] if keys else [])]
    listing = ", ".join(names[:_MAX_LISTED]) + (
        f" and {len(names) - _MAX_LISTED} more" if names[_MAX_LISTED:] else ""
    )
    return OfflineEnvironment(config, targets), listing


def _retained_entries(
    before: Mapping[str, _Value], now: Mapping[str, _Value], rejected: frozenset[str] | None
) -> dict[str, _Value]:
    """Old entries that are now unreadable; a rejected entry without a name may be any missing one."""
    if not rejected:
        return {}
    missing = before.keys() - now.keys()
    return {name: before[name] for name in (missing if "" in rejected else missing & rejected)}


def _by_name(keys: frozenset[SdkKeyHash]) -> dict[str, SdkKeyHash]:
    return {str(key): key for key in keys}


def _fill_in(info: EnvironmentInfo, before: EnvironmentInfo) -> EnvironmentInfo:
    texts = {name: getattr(info, name) or getattr(before, name) for name in info.__struct_fields__}
    return msgspec.structs.replace(info, **texts)
