"""Reads the environments of an offline directory, as its files have them."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from ff_proxy.errors import OfflineDataError
from ff_proxy.file_reading import read_regular_file
from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.keys import SdkKeyHash
from ff_proxy.sandbox.environment import Document, Environment, home
from ff_proxy.sandbox.keys import Key, known_key
from ff_proxy.sandbox.seed.build import identity
from ff_proxy.sandbox.state import DEFAULT_ORGANIZATION

_PREFIX: Final = "env-"
_PARTS: Final = ("auth_config", "feature_config", "segments", "targets")
_SUFFIXES: Final = (".json", ".yaml", ".yml")
_KEY_PREFIX: Final = "auth-key-"
_TEXTS: Final = frozenset(
    {"identifier", "name", "value", "values", "state", "variation", "variations", "feature", "keys"}
)
"""Fields that are text in YAML too, where ``on`` and ``true`` would be booleans."""


def environments_in(root: Path) -> list[Environment]:
    """Every environment below ``root``. Blocks.

    The directory usually has hashes of keys, so each environment also accepts a key of the sandbox:
    ``sandbox-<identifier>-server-key``. What the directory lacks (even the environment's name may be missing)
    is generated, so that the admin API can tell environments apart.

    Raises ``OfflineDataError`` for a directory without environments or with a file that cannot be read.
    """
    found = [
        directory
        for directory in sorted(root.rglob(_PREFIX + "*"))
        if directory.is_dir() and any(_files(directory, part) for part in _PARTS)
    ]
    if not found:
        raise OfflineDataError(str(root), "it contains no environment, that is, no directory named env-…")
    taken: set[str] = set()
    environments = []
    for directory in found:
        parts = {part: list(_entries(directory, part)) for part in _PARTS}
        info = _info(directory.name.removeprefix(_PREFIX), parts, taken)
        taken.add(info.identifier)
        environments.append(_environment(info, parts))
    return environments


def _files(directory: Path, part: str) -> list[Path]:
    return [path for suffix in _SUFFIXES if (path := directory / f"{part}{suffix}").is_file()]


def _entries(directory: Path, part: str) -> Iterator[Any]:
    for path in _files(directory, part):
        content = _read(path)
        if part == "auth_config" and isinstance(content, dict):
            yield from _plain(path, content)
            continue
        if content is not None and not isinstance(content, list):
            raise OfflineDataError(str(path), "it must hold a list")
        yield from content or ()


def _plain(path: Path, content: Mapping[str, Any]) -> Iterator[Key]:
    """Plain keys, for development: ``keys: [dev-key]``."""
    keys = content.get("keys")
    if not isinstance(keys, list):
        raise OfflineDataError(str(path), "it must hold a list of hashes, or keys: with a list of keys")
    for number, text in enumerate(keys, start=1):
        yield known_key(f"key_{number}", "Server", str(text))


def _read(path: Path) -> object:
    try:
        text = read_regular_file(path).decode("utf-8-sig")
        return _encodable(_first_value(text) if path.suffix == ".json" else _first_document(text))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise OfflineDataError(str(path), str(error)) from error


def _first_value(text: str) -> object:
    value, _ = json.JSONDecoder().raw_decode(text.lstrip())
    return value


def _first_document(text: str) -> object:
    # BaseLoader keeps every scalar as the text in the file.
    texts = next(yaml.load_all(text, yaml.BaseLoader), None)
    return _with_texts(next(yaml.safe_load_all(text), None), texts, is_text=False)


def _encodable(value: Any) -> Any:
    """The value with U+FFFD in place of lone surrogates, which JSON may escape but nobody can encode."""
    if isinstance(value, dict):
        return {_encodable(name): _encodable(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_encodable(part) for part in value]
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def _with_texts(value: Any, text: Any, *, is_text: bool) -> Any:
    if isinstance(value, dict):
        return {
            str(name): part
            if name == "attributes"
            else _with_texts(part, text[str(name)], is_text=name in _TEXTS)
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [_with_texts(part, other, is_text=is_text) for part, other in zip(value, text, strict=True)]
    return text if is_text and value is not None else value


def _info(environment: str, parts: Mapping[str, list[Any]], taken: Iterable[str]) -> EnvironmentInfo:
    said = next((flag for flag in parts["feature_config"] if isinstance(flag, dict)), {})
    name = said.get("environment") or ""
    # One sandbox is one account, wherever the environments came from.
    return identity(
        environment,
        name if name not in {"", *taken} else environment,
        said.get("project") or "sandbox",
        organization=said.get("org") or DEFAULT_ORGANIZATION,
    )


def _environment(info: EnvironmentInfo, parts: Mapping[str, list[Any]]) -> Environment:
    own = known_key("sandbox", "Server", f"sandbox-{info.identifier}-server-key")
    plain = [entry for entry in parts["auth_config"] if isinstance(entry, Key)]
    others = (str(entry) for entry in parts["auth_config"] if not isinstance(entry, Key))
    hashes = sorted({text.strip().removeprefix(_KEY_PREFIX).lower() for text in others})
    own_home = home(info)
    return Environment(
        info,
        flags=_documents(parts["feature_config"], "feature"),
        segments=(
            {
                **segment,
                "included": _members(segment.get("included"), own_home),
                "excluded": _members(segment.get("excluded"), own_home),
            }
            for segment in _documents(parts["segments"], "identifier")
        ),
        targets=(
            {"name": target["identifier"], "anonymous": False, "segments": [], "attributes": {}, **target}
            for target in _documents(parts["targets"], "identifier")
        ),
        keys=[own, *plain, *(Key(f"key_{key[:8]}", "Server", SdkKeyHash(key)) for key in hashes)],
    )


def _documents(entries: Iterable[object], name: str) -> Iterator[Document]:
    """The entries that have an identifier; a plain text is an identifier."""
    for entry in entries:
        document = {name: entry} if isinstance(entry, str) else entry
        if isinstance(document, dict) and isinstance(document.get(name), str) and document[name]:
            yield {field: value for field, value in document.items() if value is not None}


def _members(entries: Iterable[object] | None, own_home: Document) -> list[Document]:
    members = _documents(entries or (), "identifier")
    return [{"name": member["identifier"], **own_home, **member} for member in members]
