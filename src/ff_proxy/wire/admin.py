"""Pages of the admin API: hashed keys and targets of an environment.

Reading is lenient about fields and strict about the page: a response that is not a page is ``None``, so it is
never mistaken for an empty page.
"""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import msgspec

from ff_proxy.errors import MalformedJson
from ff_proxy.model.keys import SdkKeyHash, read_key_hash
from ff_proxy.model.target import Target
from ff_proxy.wire.config import read_target
from ff_proxy.wire.stored import truncate_target
from ff_proxy.wire.values import decode_json

Entry = TypeVar("Entry")


class Page(msgspec.Struct, Generic[Entry], frozen=True):
    """One page of a listing.

    ``names`` identify every entry of the page; ``entries`` maps the names of the usable ones to their values.
    A listing is complete once ``item_count`` distinct names were seen. Counts are ``None`` if the server does
    not send them.
    """

    entries: Mapping[str, Entry]
    names: frozenset[str]
    item_count: int | None
    page_count: int | None


def read_key_page(body: bytes) -> Page[SdkKeyHash] | None:
    """A page of ``/admin/apikey``; entries without a usable hash are dropped."""
    return _read(body, "apiKeys", lambda entry: read_key_hash(entry.get("key")))


def read_target_page(body: bytes) -> Page[Target] | None:
    """A page of ``/admin/targets``; entries without an identifier are dropped."""
    return _read(body, "targets", _target)


def _read(body: bytes, field: str, read: Callable[[dict[str, object]], Entry | None]) -> Page[Entry] | None:
    try:
        doc = decode_json(body, max_lenient_bytes=len(body))
    except MalformedJson:
        return None
    if not isinstance(doc, dict):
        return None
    entries = doc.get(field)
    if entries is None:
        # Go omits an empty list; then only the counts show that this is a page.
        entries = []
        if not isinstance(doc.get("itemCount"), int):
            return None
    if not isinstance(entries, list):
        return None
    named = {_name(entry): entry for entry in entries}
    parsed = ((name, read(entry)) for name, entry in named.items() if isinstance(entry, dict))
    return Page(
        entries={name: entry for name, entry in parsed if entry is not None},
        names=frozenset(named),
        item_count=_count(doc.get("itemCount")),
        page_count=_count(doc.get("pageCount")),
    )


def _target(entry: dict[str, object]) -> Target | None:
    target = read_target(entry)
    if target is None:
        return None
    return truncate_target(msgspec.structs.replace(target, name=target.name or target.identifier))[0]


def _name(entry: object) -> str:
    if isinstance(entry, dict):
        for field in ("identifier", "key"):
            text = entry.get(field)
            if isinstance(text, str) and text:
                return f"{field}:{text}"
    return repr(entry)


def _count(field: object) -> int | None:
    return field if isinstance(field, int) and not isinstance(field, bool) and field >= 0 else None
