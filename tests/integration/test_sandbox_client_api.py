"""The sandbox's client API over a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from tests.integration.sandbox_client import DEV, DEV_KEY, PROD, Client, client


@pytest.fixture
async def saas() -> AsyncIterator[Client]:
    """A client of a sandbox."""
    async with client() as made:
        yield made


@pytest.mark.parametrize("base", ["", "/", "/api/1.0", "/api/1.0/"])
async def test_the_api_lives_at_the_root_and_where_saas_has_it(saas: Client, base: str) -> None:
    """A base URL that ends in a slash does no harm."""
    answer = await saas.http.post(f"{saas.sandbox.url}{base}/client/auth", json={"apiKey": DEV_KEY})
    assert answer.status_code == 200
    assert list(answer.json()) == ["authToken"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"{}", 400),
        (b'{"apiKey": ""}', 400),
        (b'{"apiKey": 5}', 400),
        (b'{"apiKey": "unknown"}', 403),
    ],
)
async def test_bad_authentication_is_refused(saas: Client, body: bytes, status: int) -> None:
    """With an error whose code is a text, as the Go SDK needs it."""
    answer = await saas.http.post("/client/auth", content=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["code"] == str(status)


async def test_authentication_registers_a_target(saas: Client) -> None:
    """But no anonymous one, and none without an identifier (the .NET server SDK sends a blank one)."""
    for target in (
        {"identifier": "zoe", "name": "Zoe", "attributes": {"plan": "pro"}},
        {"identifier": "ghost", "anonymous": True},
        {"identifier": "", "anonymous": False},
        None,
    ):
        answer = await saas.http.post("/client/auth", json={"apiKey": DEV_KEY, "target": target})
        assert answer.status_code == 200
    targets = saas.sandbox.state.find("development").targets
    assert targets["zoe"]["attributes"] == {"plan": "pro"}
    assert not {"ghost", ""} & set(targets)


async def test_flags_and_one_flag(saas: Client) -> None:
    """The list holds what the single request gives."""
    headers = await saas.login()
    listed = (await saas.http.get(f"/client/env/{DEV}/feature-configs?cluster=1", headers=headers)).json()
    one = (await saas.http.get(f"/client/env/{DEV}/feature-configs/dark_mode", headers=headers)).json()
    assert one in listed
    assert len(listed) == 8


@pytest.mark.parametrize(
    ("query", "present", "absent"),
    [
        ("?rules=v2", "servingRules", "rules"),
        ("", "rules", "servingRules"),
        ("?rules=v3", "rules", "servingRules"),
    ],
)
async def test_segments_come_in_the_form_that_is_asked_for(
    saas: Client, query: str, present: str, absent: str
) -> None:
    """Exactly v2 gets the new rules (spec/sdk-wire#segment)."""
    headers = await saas.login()
    listed = (await saas.http.get(f"/client/env/{DEV}/target-segments{query}", headers=headers)).json()
    one = (await saas.http.get(f"/client/env/{DEV}/target-segments/europe{query}", headers=headers)).json()
    assert one in listed
    for segment in listed:
        assert segment[present]
        assert absent not in segment


@pytest.mark.parametrize(
    "path", ["feature-configs/nothing", "target-segments/nothing", "target/x/evaluations/n"]
)
async def test_what_does_not_exist_is_not_found(saas: Client, path: str) -> None:
    """404 with an error like SaaS's."""
    answer = await saas.http.get(f"/client/env/{DEV}/{path}", headers=await saas.login())
    assert answer.status_code == 404
    assert answer.json()["code"] == "404"


@pytest.mark.parametrize(
    "path",
    ["feature-configs", "feature-configs/x", "target-segments", "target-segments/x", "target/x/evaluations"],
)
async def test_a_token_opens_its_own_environment_only(saas: Client, path: str) -> None:
    """401 without one, 403 for another's."""
    headers = await saas.login()
    assert (await saas.http.get(f"/client/env/{DEV}/{path}")).status_code == 401
    bad = {"Authorization": "Bearer a.b.c"}
    assert (await saas.http.get(f"/client/env/{DEV}/{path}", headers=bad)).status_code == 401
    assert (await saas.http.get(f"/client/env/{PROD}/{path}", headers=headers)).status_code == 403


async def test_a_revoked_key_opens_nothing(saas: Client) -> None:
    """Neither by its tokens nor anew; the other key of the environment keeps working."""
    headers = await saas.login()
    saas.sandbox.revoke("development", DEV_KEY)
    assert (await saas.http.get(f"/client/env/{DEV}/feature-configs", headers=headers)).status_code == 403
    assert (await saas.http.post("/client/auth", json={"apiKey": DEV_KEY})).status_code == 403
    await saas.login("sandbox-dev-client-key")


@pytest.mark.parametrize("target", ["alice", "a%2Fb", "a/b", "x%25y", "%E6%97%A5"])
async def test_targets_of_any_spelling_are_evaluated(saas: Client, target: str) -> None:
    """JavaScript sends identifiers as they are, others escape them."""
    headers = await saas.login("sandbox-dev-client-key")
    url = f"/client/env/{DEV}/target/{target}/evaluations"
    listed = (await saas.http.get(url, headers=headers)).json()
    assert (await saas.http.get(f"{url}/dark_mode", headers=headers)).json() in listed
    assert {entry["flag"] for entry in listed} == set(saas.sandbox.state.find("development").flags)
    assert all(set(entry) == {"flag", "kind", "value", "identifier"} for entry in listed)


async def test_usage_is_received(saas: Client) -> None:
    """Counted, kept as posted, and its targets registered."""
    headers = await saas.login()
    pairs = {"featureIdentifier": "dark_mode", "variationIdentifier": "true", "target": "global"}
    body = {
        "metricsData": [
            {
                "count": 3,
                "metricsType": "FFMETRICS",
                "attributes": [{"key": key, "value": value} for key, value in pairs.items()],
            }
        ],
        "targetData": [
            {"identifier": "yan", "name": "Yan", "attributes": [{"key": "plan", "value": "pro"}, {}]}
        ],
    }
    answer = await saas.http.post(f"/metrics/{DEV}?cluster=1", json=body, headers=headers)
    assert (answer.status_code, answer.json()) == (200, {})
    (total,) = saas.sandbox.usage.sums()
    assert (total.environment, total.flag, total.variation, total.target, total.count) == (
        DEV, "dark_mode", "true", "global", 3,
    )  # fmt: skip
    (post,) = saas.sandbox.usage.posts()
    assert (post.cluster, post.body) == ("1", body)
    assert saas.sandbox.state.find("development").targets["yan"]["attributes"] == {"plan": "pro"}


@pytest.mark.parametrize(
    "targets", [None, [None], [{}], [{"identifier": ""}], [{"identifier": "t", "attributes": None}]]
)
async def test_odd_targets_in_usage_do_no_harm(saas: Client, targets: object) -> None:
    """Java and Ruby leave empty entries."""
    answer = await saas.http.post(
        f"/metrics/{DEV}", json={"metricsData": None, "targetData": targets}, headers=await saas.login()
    )
    assert answer.status_code == 200
    assert "" not in saas.sandbox.state.find("development").targets


async def test_a_client_that_breaks_off_does_no_harm(saas: Client, caplog: pytest.LogCaptureFixture) -> None:
    """It is journalled nowhere, and nobody is told."""
    sandbox = saas.sandbox.listener
    _, writer = await asyncio.open_connection(sandbox.host, sandbox.port)
    writer.write(b"POST /client/auth HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await saas.login()
    assert saas.sandbox.journal.counts() == {"auth": {"200": 1}}
    assert not caplog.records


async def test_usage_without_a_token_or_json_is_refused(saas: Client) -> None:
    """And counted nowhere."""
    assert (await saas.http.post(f"/metrics/{DEV}", json={})).status_code == 401
    answer = await saas.http.post(f"/metrics/{DEV}", content=b"{", headers=await saas.login())
    assert answer.status_code == 400
    assert saas.sandbox.usage.received == 0


async def test_usage_may_be_too_large(saas: Client) -> None:
    """The limit is a setting, so that splitting can be tested."""
    saas.sandbox.state.settings.usage_body_limit = 100
    answer = await saas.http.post(
        f"/metrics/{DEV}", content=json.dumps({"x": "y" * 100}), headers=await saas.login()
    )
    assert answer.status_code == 413


async def test_browsers_may_use_it(saas: Client) -> None:
    """Preflights need no token, and errors carry the header too."""
    origin = {"Origin": "https://app.example.com"}
    preflight = await saas.http.options(
        f"/client/env/{DEV}/target/x/evaluations",
        headers={
            **origin,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization,harness-target",
        },
    )
    assert preflight.status_code == 200
    assert "harness-target" in preflight.headers["access-control-allow-headers"]
    refused = await saas.http.get(f"/client/env/{DEV}/target/x/evaluations", headers=origin)
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "*"


async def test_unknown_paths_are_not_found_and_never_redirected(saas: Client) -> None:
    """No SDK follows a redirect."""
    for path in ("/client/auth/", "/nothing", "/api/1.0/nothing", "/gateway/cf/client/auth"):
        assert (await saas.http.get(path)).status_code == 404, path


async def test_requests_are_journalled(saas: Client) -> None:
    """By route, with their raw path and without their credentials."""
    headers = await saas.login()
    await saas.http.get(f"/api/1.0/client/env/{DEV}/target/a%2Fb/evaluations?cluster=1", headers=headers)
    assert saas.sandbox.journal.count("auth", environment=DEV, status=200) == 1
    last = saas.sandbox.journal.recent()[-1]
    assert (last.route, last.environment, last.status) == ("evaluations", DEV, 200)
    assert last.path.endswith("/target/a%2Fb/evaluations")
    assert last.query == "cluster=1"
    assert last.headers["authorization"] == "***"


async def test_field_names_are_written_as_go_writes_them(saas: Client) -> None:
    """Some SDKs compare them byte for byte (spec/sdk-wire#trap-46)."""
    reader, writer = await asyncio.open_connection(saas.sandbox.listener.host, saas.sandbox.listener.port)
    writer.write(
        b"GET /api/1.0/client/env/none/feature-configs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    head, _, _ = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    names = [line.partition(b":")[0] for line in head.split(b"\r\n")[1:]]
    assert b"Content-Type" in names
    assert all(part[:1].isupper() for name in names for part in name.split(b"-")), names
