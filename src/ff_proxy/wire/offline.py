"""What the files of an offline directory hold beside flags and segments: key hashes, targets, identity.

The directory is the Go proxy's: what is written here it can read, and the other way round.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash, hash_key
from ff_proxy.model.target import Target
from ff_proxy.wire.config import read_target
from ff_proxy.wire.text import clean_text

TEXT_FIELDS: Final = frozenset(
    {
        "account",
        "attribute",
        "bucketBy",
        "environment",
        "feature",
        "id",
        "identifier",
        "kind",
        "name",
        "offVariation",
        "op",
        "org",
        "project",
        "ruleId",
        "state",
        "value",
        "variation",
    }
)
"""Fields that are text whatever they look like: YAML would read ``identifier: true`` as a boolean."""

TEXT_LISTS: Final = frozenset(
    {"excluded", "included", "keys", "tags", "targetSegments", "targets", "values", "variations"}
)
"""Fields whose entries are text where they are no objects."""

FREE_FIELD: Final = "attributes"
"""The field whose content is the user's own, so that ``TEXT_FIELDS`` does not hold inside."""

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_KEY_PREFIX: Final = "auth-key-"


def read_key_hash(entry: object) -> SdkKeyHash | None:
    """An entry of ``auth_config`` → the hash, or ``None`` if it is no SHA-256 in hex."""
    if not isinstance(entry, str):
        return None
    text = entry.strip().removeprefix(_KEY_PREFIX).lower()
    return SdkKeyHash(text) if _HASH.fullmatch(text) else None


def read_plain_keys(document: object) -> tuple[list[object], list[str]] | None:
    """What stands in place of the list in ``auth_config`` where SDK keys are in plain: ``{"keys": […]}``.

    The entries for ``read_key_hash``, and the names of fields that mean nothing; ``None`` if it is no such
    document.
    """
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        return None
    entries = [
        hash_key(key.strip()) if isinstance(key, str) and key.strip() else key for key in document["keys"]
    ]
    return entries, sorted(str(name) for name in document if name != "keys")


def read_offline_target(entry: object) -> Target | None:
    """An entry of ``targets`` → the target, or ``None`` if it is no object with an identifier."""
    return read_target(entry)


def read_info(
    environment: EnvironmentId, items: Iterable[object], targets: Iterable[object]
) -> EnvironmentInfo:
    """What flags, segments and their members, and targets say of the environment that they belong to.

    Args:
        environment: its id, which only the directory's name tells.
        items: flags and segments as read.
        targets: targets as read.
    """
    found: dict[str, str] = {}
    listed = [*items, *targets]
    for entry in (*listed, *_members(listed)):
        if isinstance(entry, Mapping):
            for field in ("environment", "project", "org", "account"):
                text = entry.get(field)
                if isinstance(text, str) and text.strip():
                    found.setdefault(field, clean_text(text))
    return EnvironmentInfo(
        id=environment,
        identifier=found.get("environment", ""),
        project_identifier=found.get("project", ""),
        organization_identifier=found.get("org", ""),
        account=found.get("account", ""),
    )


def encode_items(wires: Iterable[bytes]) -> bytes:
    """Flags or segments, as ``Item.wire`` holds them → the file's content, indented for people."""
    return _pretty(b"[%b]" % b",".join(wires))


def encode_keys(keys: Iterable[SdkKeyHash]) -> bytes:
    """Key hashes → the content of ``auth_config``."""
    return _pretty(msgspec.json.encode(sorted(keys)))


def encode_targets(targets: Iterable[Target], info: EnvironmentInfo) -> bytes:
    """Targets → the content of ``targets``, with every field that the Go proxy writes."""
    return _pretty(msgspec.json.encode([_target(target, info) for target in targets]))


def _members(entries: Iterable[object]) -> Iterator[object]:
    """Targets within groups: SaaS names the account there, and not in flags."""
    for entry in entries:
        if isinstance(entry, Mapping):
            for field in ("included", "excluded"):
                members = entry.get(field)
                yield from members if isinstance(members, list) else ()


def _target(target: Target, info: EnvironmentInfo) -> dict[str, object]:
    return {
        "account": info.account,
        "anonymous": target.anonymous,
        "attributes": target.attributes,
        "environment": info.identifier,
        "identifier": target.identifier,
        "name": target.name,
        "org": info.organization_identifier,
        "project": info.project_identifier,
        "segments": [],
    }


def _pretty(text: bytes) -> bytes:
    return msgspec.json.format(text, indent=2) + b"\n"
