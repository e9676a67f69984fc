"""One environment of an offline directory: its files as records, and records as files."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from ff_proxy.errors import OfflineDataError
from ff_proxy.model.environment import EnvironmentConfig, Item
from ff_proxy.model.keys import SdkKeyHash
from ff_proxy.model.target import Target
from ff_proxy.offline.document import read_document
from ff_proxy.offline.files import Files, in_words
from ff_proxy.offline.layout import README, Location, Part
from ff_proxy.offline.problems import Problem, Severity
from ff_proxy.wire.normalise import Rejected, normalise_flag, normalise_segment
from ff_proxy.wire.offline import (
    encode_items,
    encode_keys,
    encode_targets,
    read_info,
    read_key_hash,
    read_offline_target,
)

_WORDS: Final = {
    Part.KEYS: "key hashes",
    Part.FLAGS: "flags",
    Part.SEGMENTS: "target groups",
    Part.TARGETS: "targets",
}


class OfflineEnvironment(msgspec.Struct, frozen=True):
    """What an environment's directory holds."""

    config: EnvironmentConfig
    targets: tuple[Target, ...]


class Reading(msgspec.Struct, frozen=True):
    """What reading a directory gave: ``environment`` is ``None`` if one of its files is broken.

    ``files`` names the file that each part was read from. ``rejected`` holds the identifiers of entries that
    cannot be used, an empty one for an entry that does not say what it is. ``complete`` is ``False`` if the
    system did not let a file be read, so that reading it again may help though it did not change.
    """

    location: Location
    environment: OfflineEnvironment | None
    problems: tuple[Problem, ...]
    files: Mapping[Part, str] = {}
    rejected: Mapping[Part, frozenset[str]] = {}
    complete: bool = True


def read_environment(location: Location, files: Files | None = None) -> Reading:
    """Read an environment's files; whatever is wrong is among the problems, never an exception."""
    reader = _Reader(location, files if files is not None else Files())
    flags, flag_docs = reader.read(Part.FLAGS, normalise_flag, _identifier)
    segments, segment_docs = reader.read(Part.SEGMENTS, normalise_segment, _identifier)
    targets, target_docs = reader.read(Part.TARGETS, _target, lambda target: target.identifier)
    keys, _ = reader.read(Part.KEYS, _key, str)
    problems = tuple(reader.problems)
    if any(problem.severity is Severity.BROKEN for problem in problems):
        return Reading(location, None, problems, complete=reader.complete)
    config = EnvironmentConfig(
        info=read_info(location.environment, [*flag_docs, *segment_docs], target_docs),
        flags=flags,
        segments=segments,
        keys=frozenset(keys.values()),
    )
    environment = OfflineEnvironment(config, tuple(targets.values()))
    rejected = {part: frozenset(names) for part, names in reader.rejected.items()}
    return Reading(location, environment, problems, reader.files, rejected)


def encode_environment(environment: OfflineEnvironment, written: float) -> Mapping[str, bytes]:
    """The files of an environment by name; ``written`` (seconds since the epoch) is told in the README."""
    config = environment.config
    targets = sorted(environment.targets, key=lambda target: target.identifier)
    return {
        f"{Part.KEYS.value}.json": encode_keys(config.keys),
        f"{Part.FLAGS.value}.json": encode_items(_wires(config.flags)),
        f"{Part.SEGMENTS.value}.json": encode_items(_wires(config.segments)),
        f"{Part.TARGETS.value}.json": encode_targets(targets, config.info),
        README: _readme(environment, written).encode(),
    }


_Made = TypeVar("_Made")


class _Reader:
    """Reads the parts of one environment and collects what is wrong with them."""

    def __init__(self, location: Location, files: Files) -> None:
        self._location = location
        self._files = files
        self.problems: list[Problem] = []
        self.files: dict[Part, str] = {}
        self.rejected: dict[Part, set[str]] = {}
        self.complete = True

    def read(
        self, part: Part, make: Callable[[object], _Made | Rejected], name: Callable[[_Made], str]
    ) -> tuple[dict[str, _Made], list[object]]:
        """The usable entries of a part by name, and all of them as they stand in the file."""
        names = self._location.files_of(part)
        if not names:
            return {}, []
        path, *others = (self._location.path / name for name in names)
        for other in others:
            self._note(Severity.WARNING, other, "", f"it is ignored, because there is {path.name}")
        self.files[part] = path.name
        try:
            document, problems = read_document(path, self._files.read(path))
        except OfflineDataError as error:
            self._note(Severity.BROKEN, path, error.place or "", error.problem)
            return {}, []
        except OSError as error:
            self.complete = False
            self._note(Severity.BROKEN, path, "", f"it cannot be read: {in_words(error)}")
            return {}, []
        self.problems += problems
        if document is None:
            return {}, []
        if not isinstance(document, list):
            self._note(Severity.BROKEN, path, "", f"it must hold a list of {_WORDS[part]}")
            return {}, []
        return self._entries(part, path, document, make, name), document

    def _entries(
        self,
        part: Part,
        path: Path,
        document: Iterable[object],
        make: Callable[[object], _Made | Rejected],
        name: Callable[[_Made], str],
    ) -> dict[str, _Made]:
        entries: dict[str, _Made] = {}
        first: dict[str, int] = {}
        for index, doc in enumerate(document):
            try:
                entry = make(doc)
            except RecursionError:
                entry = Rejected("", "it is nested too deeply")
            if isinstance(entry, Rejected):
                self.rejected.setdefault(part, set()).add(entry.identifier)
                label = f"[{index}] {entry.identifier}".rstrip()
                self._note(Severity.ERROR, path, label, entry.problem)
                continue
            identifier = name(entry)
            if identifier in entries:
                text = f"it is there already, at [{first[identifier]}]; the last one is used"
                self._note(Severity.WARNING, path, f"[{index}] {identifier}", text)
            first[identifier] = index
            entries[identifier] = entry
        return entries

    def _note(self, severity: Severity, path: Path, place: str, text: str) -> None:
        self.problems.append(Problem(severity, str(path), place, text))


def _identifier(item: Item) -> str:
    return item.identifier


def _key(doc: object) -> SdkKeyHash | Rejected:
    key = read_key_hash(doc)
    # What stands there may be a key in the clear: it is not repeated.
    return key if key is not None else Rejected("", "it is not a SHA-256 hash in hexadecimal digits")


def _target(doc: object) -> Target | Rejected:
    target = read_offline_target(doc)
    return target if target is not None else Rejected("", "a target must be an object with an 'identifier'")


def _wires(items: Mapping[str, Item]) -> list[bytes]:
    return [items[identifier].wire for identifier in sorted(items)]


def _readme(environment: OfflineEnvironment, written: float) -> str:
    config = environment.config
    info = config.info
    facts = {
        "Environment id": info.id,
        "Environment": info.identifier,
        "Project": info.project_identifier,
        "Organization": info.organization_identifier,
        "Account": info.account,
        "Flags": str(len(config.flags)),
        "Target groups": str(len(config.segments)),
        "Targets": str(len(environment.targets)),
        "SDK keys (hashed)": str(len(config.keys)),
        "Written": datetime.fromtimestamp(written, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
    }
    lines = "\n".join(f"- {name}: {fact}" for name, fact in facts.items() if fact)
    return f"# Feature flags of one environment\n\nWritten by ff-proxy for its offline mode.\n\n{lines}\n"
