"""The other files of an offline directory: key hashes, targets, and what they say of the environment.

The format is the Go proxy's: either proxy can read what the other wrote.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash, hash_key
from ff_proxy.model.target import Target
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
"""Fields that always hold text: YAML would read ``identifier: true`` as a boolean."""

TEXT_LISTS: Final = frozenset(
    {"excluded", "included", "keys", "tags", "targetSegments", "targets", "values", "variations"}
)
"""Fields whose entries are text unless they are objects."""

USER_FIELD: Final = "attributes"
"""The field whose content belongs to the user, so ``TEXT_FIELDS`` does not apply inside."""


def read_plain_keys(document: object) -> tuple[list[object], list[str]] | None:
    """Parse an ``auth_config`` that lists SDK keys in plain text: ``{"keys": […]}``.

    Returns the entries for ``read_key_hash`` and the names of unknown fields, or ``None`` if the document has
    another form.
    """
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        return None
    entries = [
        hash_key(key.strip()) if isinstance(key, str) and key.strip() else key for key in document["keys"]
    ]
    return entries, sorted(str(name) for name in document if name != "keys")


def read_info(
    environment: EnvironmentId, items: Iterable[object], targets: Iterable[object]
) -> EnvironmentInfo:
    """Collect what flags, segments, their members and targets say about their environment.

    Args:
        environment: its id, which only the directory's name says.
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
    """Encode flags or segments (their ``Item.wire``) as the content of a file, indented for people."""
    return _pretty(b"[%b]" % b",".join(wires))


def encode_keys(keys: Iterable[SdkKeyHash]) -> bytes:
    """Encode key hashes as the content of ``auth_config``."""
    return _pretty(msgspec.json.encode(sorted(keys)))


def encode_targets(targets: Iterable[Target], info: EnvironmentInfo) -> bytes:
    """Encode targets as the content of ``targets``, with every field that the Go proxy writes."""
    return _pretty(msgspec.json.encode([_target(target, info) for target in targets]))


def _members(entries: Iterable[object]) -> Iterator[object]:
    """The targets in groups: Harness names the account there, but not in flags."""
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
