"""One environment of an offline directory: parsing its files, and writing them."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from ff_proxy.errors import OfflineDataError
from ff_proxy.model.environment import EnvironmentConfig, Item
from ff_proxy.model.keys import SdkKeyHash, read_key_hash
from ff_proxy.model.target import Target
from ff_proxy.offline.document import read_document
from ff_proxy.offline.files import Files, describe_error
from ff_proxy.offline.layout import README, YAML_SUFFIXES, Location, Part
from ff_proxy.offline.line_numbers import LineNumbers
from ff_proxy.offline.problems import Problem, Severity
from ff_proxy.wire.config import read_target
from ff_proxy.wire.lenient_documents import LenientReader, Note
from ff_proxy.wire.normalise import Rejected, normalise_flag, normalise_segment
from ff_proxy.wire.offline import (
    encode_items,
    encode_keys,
    encode_targets,
    read_info,
    read_plain_keys,
)
from ff_proxy.wire.shapes import FLAG, SEGMENT, TARGET, Shape

_PART_NOUNS: Final = {
    Part.KEYS: "key hashes",
    Part.FLAGS: "flags",
    Part.SEGMENTS: "target groups",
    Part.TARGETS: "targets",
}


class OfflineEnvironment(msgspec.Struct, frozen=True):
    """The content of an environment's directory."""

    config: EnvironmentConfig
    targets: tuple[Target, ...]


class Reading(msgspec.Struct, frozen=True):
    """The result of reading a directory: ``environment`` is ``None`` if one of its files is broken.

    ``files`` names the file of each part. ``rejected`` has the identifiers of unusable entries, empty for an
    entry without one. ``complete`` is ``False`` if a file could not be read, so that a retry may help even if
    the file does not change.
    """

    location: Location
    environment: OfflineEnvironment | None
    problems: tuple[Problem, ...]
    files: Mapping[Part, str] = {}
    rejected: Mapping[Part, frozenset[str]] = {}
    complete: bool = True


def read_environment(location: Location, files: Files | None = None) -> Reading:
    """Read an environment's files; failures become problems, never exceptions."""
    reader = _Reader(location, files if files is not None else Files())
    flags, flag_docs = reader.read(Part.FLAGS, normalise_flag, _identifier, FLAG)
    segments, segment_docs = reader.read(Part.SEGMENTS, normalise_segment, _identifier, SEGMENT)
    targets, target_docs = reader.read(Part.TARGETS, _target, lambda target: target.identifier, TARGET)
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
    """The files of an environment by name; the README gives ``written`` (epoch seconds) as a date."""
    config = environment.config
    targets = sorted(environment.targets, key=lambda target: target.identifier)
    return {
        f"{Part.KEYS.value}.json": encode_keys(config.keys),
        f"{Part.FLAGS.value}.json": encode_items(_wires(config.flags)),
        f"{Part.SEGMENTS.value}.json": encode_items(_wires(config.segments)),
        f"{Part.TARGETS.value}.json": encode_targets(targets, config.info),
        README: _readme(environment, written).encode(),
    }


_Entry = TypeVar("_Entry")


class _Reader:
    """Reads the parts of one environment and collects their problems."""

    def __init__(self, location: Location, files: Files) -> None:
        self._location = location
        self._files = files
        self.problems: list[Problem] = []
        self.files: dict[Part, str] = {}
        self.rejected: dict[Part, set[str]] = {}
        self.complete = True

    def read(
        self,
        part: Part,
        parse: Callable[[object], _Entry | Rejected],
        name: Callable[[_Entry], str],
        shape: Shape | None = None,
    ) -> tuple[dict[str, _Entry], list[object]]:
        """The usable entries of a part by name, and every entry as its author meant it."""
        path, data, document = self._document(part)
        line_numbers = LineNumbers(data, is_yaml=path.suffix in YAML_SUFFIXES)
        entries: dict[str, _Entry] = {}
        first: dict[str, int] = {}
        documents: list[object] = []
        reader = LenientReader(shape) if shape is not None else None
        for index, entry in enumerate(document):
            doc, notes, parsed = _read_entry(entry, parse, reader)
            documents.append(doc)
            if isinstance(parsed, Rejected):
                self.rejected.setdefault(part, set()).add(parsed.identifier)
                label = _label(line_numbers, index, parsed.identifier)
                self._note(Severity.ERROR, path, label, parsed.problem)
                continue
            identifier = name(parsed)
            for note in notes:
                severity = Severity.ERROR if note.left_out else Severity.WARNING
                self._note(severity, path, _label(line_numbers, index, identifier, note), note.text)
            if identifier in entries:
                text = f"it is a duplicate of [{first[identifier]}]; the last one is used"
                self._note(Severity.WARNING, path, _label(line_numbers, index, identifier), text)
            first[identifier] = index
            entries[identifier] = parsed
        return entries, documents

    def _document(self, part: Part) -> tuple[Path, bytes, list[object]]:
        """The file of a part, its content, and its list."""
        names = self._location.files_of(part)
        if not names:
            return self._location.path, b"", []
        path, *others = (self._location.path / name for name in names)
        for other in others:
            self._note(Severity.WARNING, other, "", f"it is ignored, because there is {path.name}")
        self.files[part] = path.name
        try:
            data = self._files.read(path)
            document, problems = read_document(path, data)
        except OfflineDataError as error:
            self._note(Severity.BROKEN, path, error.place or "", error.problem)
            return path, b"", []
        except OSError as error:
            self.complete = False
            self._note(Severity.BROKEN, path, "", f"it cannot be read: {describe_error(error)}")
            return path, b"", []
        self.problems += problems
        if part is Part.KEYS:
            document = self._plain_keys(path, document)
        if document is not None and not isinstance(document, list):
            self._note(Severity.BROKEN, path, "", f"it must contain a list of {_PART_NOUNS[part]}")
            return path, data, []
        return path, data, document or []

    def _plain_keys(self, path: Path, document: object) -> object:
        plain = read_plain_keys(document)
        if plain is None:
            return document
        entries, others = plain
        self._note(
            Severity.WARNING,
            path,
            "",
            "SDK keys stand here in plain, which is for development on one machine; "
            "elsewhere write a list of their SHA-256 hashes",
        )
        for name in others:
            self._note(Severity.ERROR, path, "", f"{name!r} is not a known field")
        return entries

    def _note(self, severity: Severity, path: Path, place: str, text: str) -> None:
        self.problems.append(Problem(severity, str(path), place, text))


def _read_entry(
    entry: object, parse: Callable[[object], _Entry | Rejected], reader: LenientReader | None
) -> tuple[object, tuple[Note, ...], _Entry | Rejected]:
    """The entry as its author meant it, notes about it, and its parsed form."""
    try:
        doc, notes = reader.read(entry) if reader is not None else (entry, ())
        return doc, notes, parse(doc)
    except RecursionError:
        return None, (), Rejected("", "it is nested too deeply")


def _label(line_numbers: LineNumbers, index: int, identifier: str, note: Note | None = None) -> str:
    line = line_numbers.line(index, note.path if note is not None else ())
    label = f"[{index}] {identifier}".rstrip()
    if note is not None and note.path:
        label = f"{label}: {note.place}"
    return label if line is None else f"line {line}: {label}"


def _identifier(item: Item) -> str:
    return item.identifier


def _key(doc: object) -> SdkKeyHash | Rejected:
    key = read_key_hash(doc)
    # It may be a plain-text key, so it is not quoted.
    return key if key is not None else Rejected("", "it is not a SHA-256 hash in hexadecimal digits")


def _target(doc: object) -> Target | Rejected:
    target = read_target(doc)
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
