"""The sandbox's admin API over a real socket."""

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from ff_proxy.model.keys import hash_key
from tests.integration.sandbox_client import DEV_KEY, Client, client

TOKEN: Final = {"x-api-key": "sandbox-admin-token"}
WHERE: Final = {
    "accountIdentifier": "sandbox_account",
    "orgIdentifier": "default",
    "projectIdentifier": "online_shop",
    "environmentIdentifier": "development",
}


@pytest.fixture
async def saas() -> AsyncIterator[Client]:
    """A client of a sandbox."""
    async with client() as made:
        yield made


async def page(saas: Client, listing: str, number: int = 0, size: int = 100) -> dict[str, Any]:
    """A page of a listing."""
    answer = await saas.http.get(
        f"/gateway/cf/admin/{listing}",
        params={**WHERE, "pageNumber": number, "pageSize": size},
        headers=TOKEN,
    )
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


async def test_keys_are_listed_by_their_hashes(saas: Client) -> None:
    """The text is masked, as SaaS shows it once only."""
    listing = await page(saas, "apikey")
    assert listing["apiKeys"][0] == {
        "name": "dev_server",
        "identifier": "dev_server",
        "type": "Server",
        "apiKey": "********-key",
        "key": hash_key(DEV_KEY),
    }
    assert (listing["itemCount"], listing["pageCount"], listing["pageIndex"]) == (2, 1, 0)


async def test_targets_are_listed_with_where_they_live(saas: Client) -> None:
    """Every field that the admin API promises."""
    listing = await page(saas, "targets")
    alice = next(target for target in listing["targets"] if target["identifier"] == "alice")
    assert alice["attributes"]["country"] == "DE"
    assert [alice[name] for name in ("account", "org", "project", "environment")] == list(WHERE.values())


async def test_pages_together_hold_everything_once(saas: Client) -> None:
    """And the page behind the last is empty."""
    pages = [await page(saas, "targets", number, size=2) for number in range(4)]
    assert [len(one["targets"]) for one in pages] == [2, 2, 1, 0]
    assert {one["pageCount"] for one in pages} == {3}
    names = [target["identifier"] for one in pages for target in one["targets"]]
    assert names == list(saas.sandbox.state.find("development").targets)


async def test_the_server_may_give_smaller_pages_than_asked_for(saas: Client) -> None:
    """A client must look at the page it got."""
    saas.sandbox.state.settings.page_size_limit = 1
    listing = await page(saas, "apikey", size=100)
    assert (listing["pageSize"], listing["pageCount"], len(listing["apiKeys"])) == (1, 2, 1)


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "wrong"}, {"x-api-key": "ö".encode()}])
@pytest.mark.parametrize("listing", ["apikey", "targets"])
async def test_the_token_is_checked(saas: Client, listing: str, headers: dict[str, Any]) -> None:
    """401."""
    answer = await saas.http.get(f"/gateway/cf/admin/{listing}", params=WHERE, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["code"] == "401"


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("accountIdentifier", 403),
        ("orgIdentifier", 404),
        ("projectIdentifier", 404),
        ("environmentIdentifier", 404),
    ],
)
async def test_every_identifier_counts(saas: Client, name: str, status: int) -> None:
    """A proxy that asks with the wrong one finds out."""
    answer = await saas.http.get("/gateway/cf/admin/apikey", params={**WHERE, name: "x"}, headers=TOKEN)
    assert answer.status_code == status
    missing = {other: value for other, value in WHERE.items() if other != name}
    answer = await saas.http.get("/gateway/cf/admin/apikey", params=missing, headers=TOKEN)
    assert answer.status_code == 400
    assert name in answer.json()["message"]


async def test_a_page_number_must_be_one(saas: Client) -> None:
    """400, not a crash."""
    answer = await saas.http.get(
        "/gateway/cf/admin/apikey", params={**WHERE, "pageNumber": "-1"}, headers=TOKEN
    )
    assert answer.status_code == 400
