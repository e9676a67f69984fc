"""The sandbox's streams over a real socket."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator

import httpx2
import pytest

from ff_proxy.model.environment import Domain
from ff_proxy.sandbox.seed import default_environments
from ff_proxy.sandbox.server import serve
from ff_proxy.sandbox.state import SandboxState
from tests.integration.sandbox_client import DEV_KEY, PATIENCE, PROD_KEY, Client, client, connected


@pytest.fixture
async def saas() -> AsyncIterator[Client]:
    """A client of a sandbox."""
    async with client() as made:
        yield made


async def test_the_head_is_what_sdks_need(saas: Client) -> None:
    """And a heartbeat follows at once (spec/sdk-wire#stream-head)."""
    async with saas.listening() as stream:
        assert stream.response.headers["content-type"] == "text/event-stream"
        assert stream.response.headers["cache-control"] == "no-cache"
        assert stream.response.headers["connection"] == "close"
        assert stream.response.headers["transfer-encoding"] == "chunked"


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 400), ({"API-Key": DEV_KEY}, 401), ({"API-Key": DEV_KEY, "Authorization": "Bearer x"}, 401)],
)
async def test_a_refusal_has_no_body(saas: Client, headers: dict[str, str], status: int) -> None:
    """With one, the JavaScript SDK would never poll."""
    answer = await saas.http.get("/stream", headers=headers)
    assert (answer.status_code, answer.content) == (status, b"")
    assert answer.headers["content-length"] == "0"


async def test_changes_become_events(saas: Client) -> None:
    """One chunk each, in order, with the version that a fetch will find."""
    state = saas.sandbox.state
    async with saas.listening() as stream:
        state.flip("development", "dark_mode")
        state.put("development", Domain.SEGMENT, {"identifier": "new"})
        state.drop("development", Domain.FLAG, "dark_mode")
        chunks = [await stream.next() for _ in range(3)]
    assert chunks[0] == (
        b'event: *\ndata: {"event":"patch","domain":"flag","identifier":"dark_mode","version":2}\n\n'
    )
    events = [json.loads(chunk.partition(b"data: ")[2]) for chunk in chunks if chunk]
    assert [(event["event"], event["domain"], event["version"]) for event in events] == [
        ("patch", "flag", 2),
        ("create", "target-segment", 1),
        ("delete", "flag", 3),
    ]


async def test_events_stay_in_their_environment(saas: Client) -> None:
    """A stream hears of its own only."""
    async with saas.listening(DEV_KEY) as dev, saas.listening(PROD_KEY) as prod:
        saas.sandbox.state.flip("production", "new_search")
        saas.sandbox.state.flip("development", "dark_mode")
        assert b"dark_mode" in (await dev.next() or b"")
        assert b"new_search" in (await prod.next() or b"")


async def test_heartbeats_come_when_nothing_else_does(saas: Client) -> None:
    """Each an empty comment in a chunk of its own."""
    saas.sandbox.state.settings.heartbeat_seconds = 0.02
    async with saas.listening() as stream:
        assert [await stream.next() for _ in range(3)] == [b":\n\n"] * 3


async def test_a_client_that_leaves_is_forgotten(saas: Client) -> None:
    """Without waiting for the next heartbeat."""
    async with saas.listening():
        assert saas.sandbox.streams.count() == 1
    async with asyncio.timeout(PATIENCE):
        await saas.sandbox.streams.until(lambda count: count == 0)


async def test_a_cut_ends_the_response(saas: Client) -> None:
    """After what was announced before it."""
    async with saas.listening() as stream:
        saas.sandbox.state.flip("development", "dark_mode")
        assert saas.sandbox.streams.cut() == 1
        assert b"dark_mode" in (await stream.next() or b"")
        assert await stream.next() is None


async def test_a_reset_breaks_the_connection(saas: Client) -> None:
    """In the middle of the response."""
    async with saas.listening() as stream:
        saas.sandbox.streams.cut(how="reset")
        with pytest.raises(httpx2.ReadError):
            await stream.next()


async def test_a_cut_may_be_for_one_environment(saas: Client) -> None:
    """The other's streams go on."""
    async with saas.listening(DEV_KEY) as dev, saas.listening(PROD_KEY) as prod:
        saas.sandbox.streams.cut(saas.sandbox.state.find("development").info.id)
        assert await dev.next() is None
        saas.sandbox.state.flip("production", "new_search")
        assert b"new_search" in (await prod.next() or b"")


async def test_a_revoked_key_loses_its_streams(saas: Client) -> None:
    """The environment's other key keeps its own."""
    async with saas.listening(DEV_KEY) as revoked, saas.listening("sandbox-dev-client-key") as other:
        saas.sandbox.revoke("development", DEV_KEY)
        assert await revoked.next() is None
        saas.sandbox.state.flip("development", "dark_mode")
        assert b"dark_mode" in (await other.next() or b"")


async def test_a_muted_stream_stays_open_and_says_nothing(saas: Client) -> None:
    """What happens meanwhile is lost, as on a connection that died silently."""
    saas.sandbox.state.settings.heartbeat_seconds = 0.01
    async with saas.listening() as stream:
        saas.sandbox.streams.mute()
        heard = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                while await stream.next():
                    heard += 1
        # What was on its way already may still have arrived; thirty heartbeats were due.
        assert heard < 3
        assert saas.sandbox.streams.count() == 1


async def test_an_unmuted_stream_goes_on(saas: Client) -> None:
    """Events in between are gone."""
    async with saas.listening() as stream:
        saas.sandbox.streams.mute()
        saas.sandbox.state.flip("development", "dark_mode")
        saas.sandbox.streams.unmute()
        saas.sandbox.state.flip("development", "new_search")
        assert await stream.next() == b":\n\n"
        assert b"new_search" in (await stream.next() or b"")


async def test_a_stream_opened_while_muted_gets_not_even_a_head(saas: Client) -> None:
    """Until it is unmuted."""
    headers = await saas.login()
    saas.sandbox.streams.mute(saas.sandbox.state.find("development").info.id)
    opening = asyncio.create_task(
        saas.http.send(saas.http.build_request("GET", "/stream", headers=headers), stream=True)
    )
    async with asyncio.timeout(PATIENCE):
        await saas.sandbox.streams.until(lambda count: count == 1)
    assert not opening.done()
    saas.sandbox.streams.unmute()
    response = await opening
    assert response.status_code == 200
    await response.aclose()


async def test_any_bytes_can_be_sent(saas: Client) -> None:
    """To see what a reader makes of them."""
    async with saas.listening() as stream:
        saas.sandbox.streams.send(None, b"data: {half a rec")
        assert await stream.next() == b"data: {half a rec"


async def test_closing_the_sandbox_ends_its_streams() -> None:
    """In no time, and politely."""
    async with contextlib.AsyncExitStack() as later:
        async with asyncio.timeout(PATIENCE), serve(SandboxState(default_environments())) as sandbox:
            saas = await later.enter_async_context(connected(sandbox))
            stream = await later.enter_async_context(saas.listening())
            began = time.monotonic()
        assert time.monotonic() - began < 5
        assert await stream.next() is None
