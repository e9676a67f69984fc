"""Pages of the admin API."""

import json

import pytest

from ff_proxy.model.keys import hash_key
from ff_proxy.model.target import Target
from ff_proxy.wire.admin import read_key_page, read_target_page

HASH = hash_key("key")


def page(**fields: object) -> bytes:
    """A page with these fields."""
    return json.dumps({"itemCount": 1, "pageCount": 1, "pageIndex": 0, "pageSize": 100} | fields).encode()


def test_keys() -> None:
    """Only the hash is used, in lower case."""
    read = read_key_page(page(apiKeys=[{"identifier": "a", "apiKey": "abcd***", "key": HASH.upper()}]))
    assert read is not None
    assert dict(read.entries) == {"identifier:a": HASH}
    assert (read.item_count, read.page_count) == (1, 1)


@pytest.mark.parametrize("key", [None, "", 7, "raw-key-text", "zz" * 32, HASH[:-1]])
def test_entries_without_a_usable_hash_are_seen_but_not_used(key: object) -> None:
    """They count for completeness."""
    read = read_key_page(page(apiKeys=[{"identifier": "a", "key": key}]))
    assert read is not None
    assert dict(read.entries) == {}
    assert read.names == {"identifier:a"}


def test_targets() -> None:
    """What SaaS adds to a target is left out."""
    entry = {
        "identifier": "anna",
        "name": "Anna",
        "account": "acme",
        "attributes": {"age": 7},
        "segments": [],
    }
    read = read_target_page(page(targets=[entry, {"name": "nobody"}, "junk", None]))
    assert read is not None
    assert list(read.entries.values()) == [Target("anna", "Anna", {"age": 7})]
    assert len(read.names) == 4


def test_target_fields_are_lenient() -> None:
    """A name defaults to the identifier, attributes to none."""
    read = read_target_page(
        page(targets=[{"identifier": "a", "name": None, "attributes": [], "anonymous": True}])
    )
    assert read is not None
    assert list(read.entries.values()) == [Target("a", "a", {}, anonymous=True)]


@pytest.mark.parametrize("listed", [{}, {"apiKeys": None}, {"apiKeys": []}])
def test_an_empty_page(listed: dict[str, object]) -> None:
    """The list may be missing where the counts are there."""
    read = read_key_page(page(**(listed | {"itemCount": 0})))
    assert read is not None
    assert (dict(read.entries), read.names, read.item_count) == ({}, frozenset(), 0)


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{}", b"<html>", b'{"apiKeys":{}}', b'{"apiKeys":"x"}', b"\xff", b"[" * 99_999],
)
def test_what_is_no_page(body: bytes) -> None:
    """It must not be taken for an empty one."""
    assert read_key_page(body) is None


@pytest.mark.parametrize("count", [-1, "7", True, None, 1.5])
def test_unusable_counts(count: object) -> None:
    """A count that is none is not known."""
    read = read_key_page(page(apiKeys=[], itemCount=count))
    assert read is not None
    assert read.item_count is None
