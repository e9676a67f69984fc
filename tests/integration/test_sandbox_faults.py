"""The sandbox made to fail, over a real socket, through its control API."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from tests.integration.sandbox_client import DEV, DEV_KEY, PROD_KEY, Client, client

FLAGS = f"/client/env/{DEV}/feature-configs"


@pytest.fixture
async def saas() -> AsyncIterator[Client]:
    """A client of a sandbox."""
    async with client() as made:
        yield made


async def fail(saas: Client, **fault: Any) -> None:
    """Put a fault in force."""
    await saas.control("POST", "/faults", fault)


async def test_a_status_is_answered_as_often_as_asked(saas: Client) -> None:
    """With SaaS's error and the pause asked for; then all is well again."""
    headers = await saas.login()
    await fail(saas, route="flags", status=503, count=1, retryAfter=7)
    answer = await saas.http.get(FLAGS, headers=headers)
    assert answer.status_code == 503
    assert answer.json()["code"] == "503"
    assert answer.headers["retry-after"] == "7"
    assert (await saas.http.get(FLAGS, headers=headers)).status_code == 200
    assert saas.sandbox.journal.counts()["flags"] == {"200": 1, "503": 1}


async def test_other_routes_keep_working(saas: Client) -> None:
    """Also of the same family."""
    headers = await saas.login()
    await fail(saas, route="flags", status=500)
    assert (await saas.http.get(f"{FLAGS}/dark_mode", headers=headers)).status_code == 200


@pytest.mark.parametrize("environment", ["production", "22222222-2222-4222-8222-222222222222"])
async def test_a_fault_may_be_for_one_environment(saas: Client, environment: str) -> None:
    """Authentication belongs to the environment of the key in its body."""
    await fail(saas, route="auth", environment=environment, status=500)
    assert (await saas.http.post("/client/auth", json={"apiKey": PROD_KEY})).status_code == 500
    assert (await saas.http.post("/client/auth", json={"apiKey": DEV_KEY})).status_code == 200


async def test_the_second_page_of_a_listing_can_fail(saas: Client) -> None:
    """By letting the first request pass."""
    await fail(saas, route="admin-keys", status=500, skip=1, count=1)
    where = {
        "accountIdentifier": "sandbox_account",
        "orgIdentifier": "default",
        "projectIdentifier": "online_shop",
        "environmentIdentifier": "development",
    }
    statuses = []
    for number in range(3):
        answer = await saas.http.get(
            "/gateway/cf/admin/apikey",
            params={**where, "pageNumber": number, "pageSize": 1},
            headers={"x-api-key": "sandbox-admin-token"},
        )
        statuses.append(answer.status_code)
    assert statuses == [200, 500, 200]


async def test_a_delay_comes_before_the_answer(saas: Client) -> None:
    """Which is the usual one."""
    headers = await saas.login()
    await fail(saas, route="flags", delayMs=150)
    began = time.monotonic()
    answer = await saas.http.get(FLAGS, headers=headers)
    assert time.monotonic() - began >= 0.15
    assert answer.status_code == 200


async def test_a_captive_portal_answers_with_html(saas: Client) -> None:
    """And 200."""
    await fail(saas, route="auth", body="html")
    answer = await saas.http.post("/client/auth", json={"apiKey": DEV_KEY})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")


async def test_garbage_looks_like_json_and_is_none(saas: Client) -> None:
    """A complete response of half a document."""
    await fail(saas, route="flags", body="garbage")
    answer = await saas.http.get(FLAGS, headers=await saas.login())
    assert answer.headers["content-type"] == "application/json"
    with pytest.raises(ValueError, match=r"delimiter|value"):
        answer.json()


async def test_an_empty_answer(saas: Client) -> None:
    """With a status of one's choice."""
    await fail(saas, route="stream", status=503, body="empty", retryAfter=1)
    answer = await saas.http.get("/stream", headers=await saas.login())
    assert (answer.status_code, answer.content) == (503, b"")


async def test_a_truncated_answer_breaks_off(saas: Client) -> None:
    """Its length was promised, half of it comes."""
    headers = await saas.login()
    await fail(saas, route="flags", body="truncated")
    with pytest.raises(httpx2.RemoteProtocolError):
        await saas.http.get(FLAGS, headers=headers)


async def test_a_truncated_stream_closes_at_once(saas: Client) -> None:
    """Accepted and gone, which makes some SDKs spin."""
    headers = await saas.login()
    await fail(saas, route="stream", body="truncated")
    with pytest.raises(httpx2.RemoteProtocolError):
        await saas.http.get("/stream", headers=headers)
    assert saas.sandbox.streams.count() == 0


async def test_a_connection_can_be_reset(saas: Client) -> None:
    """Before a byte of the answer."""
    headers = await saas.login()
    await fail(saas, route="flags", connection="reset", count=1)
    with pytest.raises(httpx2.ReadError):
        await saas.http.get(FLAGS, headers=headers)
    assert (await saas.http.get(FLAGS, headers=headers)).status_code == 200
    assert saas.sandbox.journal.count("flags", status=0) == 1


async def test_a_connection_can_hang_until_the_fault_is_cleared(saas: Client) -> None:
    """Then it breaks, and the next request is answered."""
    headers = await saas.login()
    await fail(saas, route="flags", connection="hang")
    with pytest.raises(httpx2.ReadTimeout):
        await saas.http.get(FLAGS, headers=headers, timeout=0.1)
    waiting = asyncio.create_task(saas.http.get(FLAGS, headers=headers))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    assert await saas.control("DELETE", "/faults") == []
    with pytest.raises(httpx2.ReadError):
        await waiting
    assert (await saas.http.get(FLAGS, headers=headers)).status_code == 200


async def test_faults_are_listed_and_cleared_by_route(saas: Client) -> None:
    """As they were added, with what is left of them."""
    await fail(saas, route="flags", status=500, count=3)
    await fail(saas, route="auth", delayMs=5)
    listed = await saas.control("GET", "/faults")
    assert [(one["route"], one["status"], one["count"], one["delayMs"]) for one in listed] == [
        ("flags", 500, 3, 0),
        ("auth", 0, None, 5),
    ]
    assert [one["route"] for one in await saas.control("DELETE", "/faults?route=flags")] == ["auth"]


@pytest.mark.parametrize(
    "fault", [{"route": "nowhere"}, {"rout": "auth"}, {"status": "many"}, {"status": 12}, []]
)
async def test_a_fault_that_makes_no_sense_is_refused(saas: Client, fault: Any) -> None:
    """It would never strike, or always."""
    answer = await saas.http.post("/sandbox/faults", json=fault)
    assert answer.status_code == 400
    assert await saas.control("GET", "/faults") == []


class TestDown:
    async def test_by_reset_until_up(self, saas: Client) -> None:
        """Streams break too; the control API stays."""
        headers = await saas.login()
        async with saas.listening() as stream:
            await saas.control("POST", "/down", {"how": "reset"})
            with pytest.raises(httpx2.ReadError):
                await stream.next()
            with pytest.raises(httpx2.ReadError):
                await saas.http.get(FLAGS, headers=headers)
        await saas.control("POST", "/up")
        assert (await saas.http.get(FLAGS, headers=headers)).status_code == 200

    async def test_by_hanging_until_up(self, saas: Client) -> None:
        """Streams stay open and say nothing, so that nobody notices."""
        headers = await saas.login()
        async with saas.listening() as stream:
            await saas.control("POST", "/down", {"how": "hang"})
            with pytest.raises(httpx2.ReadTimeout):
                await saas.http.get(FLAGS, headers=headers, timeout=0.1)
            assert saas.sandbox.streams.count() == 1
            await saas.control("POST", "/up")
            assert await stream.next() == b":\n\n"
        assert (await saas.http.get(FLAGS, headers=headers)).status_code == 200

    async def test_by_refusing_for_a_while(self, saas: Client) -> None:
        """Nothing listens, not even this API; then it is back on the same port."""
        with pytest.raises(httpx2.TransportError):
            await saas.http.post("/sandbox/down", json={"how": "refuse", "seconds": 0.2})
        with pytest.raises(httpx2.ConnectError):
            await saas.http.get("/sandbox")
        async with asyncio.timeout(5.0):
            while not saas.sandbox.listener.is_open:  # noqa: ASYNC110  (time is what this is about)
                await asyncio.sleep(0.02)
        await saas.login()

    async def test_refusing_needs_an_end(self, saas: Client) -> None:
        """Nobody could ask for it otherwise."""
        answer = await saas.http.post("/sandbox/down", json={"how": "refuse"})
        assert answer.status_code == 400
        await saas.login()

    async def test_from_python_until_up(self, saas: Client) -> None:
        """For a sandbox in the same process there is no need of an end."""
        async with saas.listening() as stream:
            saas.sandbox.down()
            with pytest.raises(httpx2.ReadError):
                await stream.next()
        with pytest.raises(httpx2.ConnectError):
            await saas.http.get("/sandbox")
        await saas.sandbox.up()
        await saas.login()
