"""Before the secret is known that signs tokens: alive, and nothing definite is said.

See spec/behaviour#endpoints.
"""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from ff_proxy.api.access import TokenAccess
from ff_proxy.api.auth_gate import AuthGate
from ff_proxy.api.tokens import Tokens
from ff_proxy.errors import RequestError
from ff_proxy.model.keys import Secret
from ff_proxy.model.readiness import Readiness
from tests.support.configs import ENVIRONMENT, KEY, config, flag
from tests.support.web import SECRET, Site, ask, serving

LATER = f"/client/env/{ENVIRONMENT}/"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Everything is loaded, and nobody can be let in."""
    async with serving(Site(shut=True, loading=0.05), config(flag("a"))) as running:
        yield running


@pytest.mark.parametrize("path", ["feature-configs", "target-segments", "target/t/evaluations"])
async def test_reads_are_to_be_repeated(site: Site, path: str) -> None:
    """502: after a 503 some SDKs give up for good, and a 401 would end the others."""
    got = await ask(site, "GET", LATER + path, site.bearer())
    assert (got.status, got.field("retry-after")) == (502, "2")


async def test_authentication_is_to_be_repeated(site: Site) -> None:
    """503, and 400 for what would be wrong at any time; an unknown key stays one."""
    body = msgspec.json.encode({"apiKey": KEY, "target": {"identifier": "ana"}})
    got = await ask(site, "POST", "/client/auth", body=body)
    assert (got.status, got.field("retry-after")) == (503, "2")
    assert "secret" in got.json()["message"]
    assert (await ask(site, "POST", "/client/auth", body=b"{")).status == 400


async def test_streams_and_usage_are_to_be_repeated(site: Site) -> None:
    """503: the stream's with nothing in it."""
    got = await ask(site, "GET", "/stream", {**site.bearer(), "API-Key": KEY})
    assert (got.status, got.body, got.field("retry-after")) == (503, b"", "2")
    assert (await ask(site, "GET", "/stream", site.bearer())).status == 400
    got = await ask(site, "POST", f"/metrics/{ENVIRONMENT}", site.bearer(), b'{"metricsData":[]}')
    assert (got.status, got.field("retry-after")) == (503, "2")


async def test_probes_are_answered(site: Site) -> None:
    """The process lives."""
    assert (await ask(site, "GET", "/health/live")).status == 200
    assert (await ask(site, "GET", "/health")).status == 200
    assert (await ask(site, "GET", "/metrics")).status == 200


async def test_the_entrance_opens_once(site: Site) -> None:
    """With the secret; until then it says why the process is not ready."""
    given: asyncio.Future[Secret] = asyncio.get_running_loop().create_future()

    async def awaited() -> Secret:
        return await given

    tokens = Tokens(None, site.clock, awaiting=True)
    entrance = AuthGate(tokens, awaited, TokenAccess(tokens, site.snapshots), at_once=False)
    running = asyncio.create_task(entrance.run())
    snapshot = site.snapshots.get(ENVIRONMENT)
    assert snapshot is not None
    fields = {b"authorization": site.bearer()["Authorization"].encode()}
    with pytest.raises(RequestError, match="secret"):
        entrance.read(fields, ENVIRONMENT, unverified=401)
    shut = entrance.merge_into(Readiness(loaded=1, pending=("another",)))
    assert shut.pending[0] == "another"
    assert "secret" in shut.pending[1]
    given.set_result(SECRET)
    await entrance.ready.wait()
    assert entrance.read(fields, ENVIRONMENT, unverified=401) is snapshot
    assert entrance.merge_into(Readiness(loaded=1)).ready
    assert site.tokens.verify(entrance.issue(snapshot.info, next(iter(snapshot.keys))).encode())
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
