"""Listings of the admin API: complete, partial, endless, empty."""

from collections.abc import Sequence

import pytest

from ff_proxy.errors import UpstreamMalformed, UpstreamRefused, UpstreamUnavailable
from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.keys import EnvironmentId, hash_key
from ff_proxy.upstream.transport import Reply
from tests.support.saas import ENV, HTML, KEY, FakeSaas, admin_api, error, reply

INFO = EnvironmentInfo(EnvironmentId(ENV), identifier="production", project_identifier="shop")
HASHES = [hash_key(f"key-{number}") for number in range(250)]


def key_page(hashes: Sequence[str], **counts: object) -> Reply:
    """A page of keys."""
    return reply({"apiKeys": [{"identifier": text[:9], "key": text} for text in hashes]} | counts)


async def listed(saas: FakeSaas, *pages: Reply, most_pages: int = 1000) -> tuple[int, bool, int]:
    """How many keys are found, whether that is complete, and how many requests it took."""
    saas.next["/admin/apikey"] = list(pages)
    before = saas.count("/admin/apikey")
    listing = await admin_api(saas, most_pages).keys(INFO)
    return len(listing.entries), listing.complete, saas.count("/admin/apikey") - before


async def test_request() -> None:
    """Identifiers, not UUIDs; the token in its own header."""
    saas = FakeSaas()
    saas.environment()
    listing = await admin_api(saas).keys(INFO)
    assert (listing.entries, listing.complete) == ((KEY.hash,), True)
    (request,) = saas.requests
    assert request.url == "http://admin.test/gateway/cf/admin/apikey"
    assert request.query == {
        "accountIdentifier": "acme",
        "orgIdentifier": "default",
        "projectIdentifier": "shop",
        "environmentIdentifier": "production",
        "pageNumber": "0",
        "pageSize": "100",
    }
    assert request.headers["x-api-key"] == "admin-token"
    assert "Authorization" not in request.headers
    assert "admin-token" not in repr(request)


async def test_many_pages() -> None:
    """All of them, in order, and no request too many."""
    saas = FakeSaas()
    saas.environment().hashes[:] = HASHES
    listing = await admin_api(saas).keys(INFO)
    assert listing.entries == tuple(HASHES)
    assert listing.complete
    assert saas.count("/admin/apikey") == 3


async def test_targets() -> None:
    """The same pages."""
    saas = FakeSaas()
    saas.environment().targets[:] = [{"identifier": f"t{number}"} for number in range(101)]
    listing = await admin_api(saas).targets(INFO)
    assert len(listing.entries) == 101
    assert listing.complete


async def test_smaller_pages_than_asked_for() -> None:
    """The server may clamp the page size."""
    pages = [key_page(HASHES[at : at + 20], itemCount=60, pageCount=3) for at in (0, 20, 40)]
    assert await listed(FakeSaas(), *pages) == (60, True, 3)


async def test_ends_at_an_empty_page_without_counts() -> None:
    """As the Go proxy ends."""
    assert await listed(FakeSaas(), key_page(HASHES[:5]), key_page([])) == (5, True, 2)


async def test_ends_at_the_last_page_by_page_count() -> None:
    """Where only that count is given."""
    pages = [key_page(HASHES[:5], pageCount=2), key_page(HASHES[5:8], pageCount=2)]
    assert await listed(FakeSaas(), *pages) == (8, True, 2)


async def test_fewer_than_announced_is_partial() -> None:
    """A page lost entries on its way."""
    assert await listed(FakeSaas(), key_page(HASHES[:5], itemCount=6, pageCount=1)) == (5, False, 1)


async def test_more_than_announced_is_partial() -> None:
    """It changed while it was read."""
    pages = [key_page(HASHES[:5], itemCount=7), key_page(HASHES[5:9], itemCount=7)]
    assert await listed(FakeSaas(), *pages) == (9, False, 2)


@pytest.mark.parametrize("counts", [{}, {"itemCount": 250, "pageCount": 3}])
async def test_a_server_that_ignores_the_page_number(counts: dict[str, object]) -> None:
    """The repeated page ends the listing, which is partial."""
    page = key_page(HASHES[:100], **counts)
    assert await listed(FakeSaas(), *[page] * 10) == (100, False, 2)


async def test_an_endless_listing_is_given_up() -> None:
    """Even if every page has new entries."""
    pages = [key_page([text]) for text in HASHES]
    assert await listed(FakeSaas(), *pages, most_pages=7) == (7, False, 7)


async def test_empty_listing() -> None:
    """Complete, with nothing in it: the caller decides what that means."""
    assert await listed(FakeSaas(), key_page([], itemCount=0, pageCount=0)) == (0, True, 1)


async def test_entries_without_a_hash_count_for_completeness() -> None:
    """They are listed, though useless."""
    page = reply({"itemCount": 2, "apiKeys": [{"identifier": "a", "key": HASHES[0]}, {"identifier": "b"}]})
    assert await listed(FakeSaas(), page) == (1, True, 1)


async def test_a_failed_page_fails_the_listing() -> None:
    """Half a listing is not returned."""
    with pytest.raises(UpstreamUnavailable):
        await listed(FakeSaas(), key_page(HASHES[:5], itemCount=9), error(500))


async def test_wrong_token() -> None:
    """A definite refusal."""
    with pytest.raises(UpstreamRefused):
        await listed(FakeSaas(), error(401))


@pytest.mark.parametrize("answer", [HTML, reply([]), reply({"message": "hello"})])
async def test_a_body_that_is_not_a_page(answer: Reply) -> None:
    """It does not count as an empty listing."""
    with pytest.raises(UpstreamMalformed):
        await listed(FakeSaas(), answer)


async def test_identifiers_must_be_known() -> None:
    """A token without them would list something else."""
    saas = FakeSaas()
    with pytest.raises(UpstreamMalformed, match="no project"):
        await admin_api(saas).keys(EnvironmentInfo(EnvironmentId(ENV)))
    assert saas.requests == []
