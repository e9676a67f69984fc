"""The client API: what each request carries."""

import json

import pytest

from ff_proxy.errors import UpstreamMalformed, UpstreamRefused
from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.keys import EnvironmentId, SdkKey, Secret
from ff_proxy.model.target import Target
from ff_proxy.upstream.client import ClientApi
from ff_proxy.upstream.credentials import Session
from tests.support.saas import ENV, HTML, KEY, FakeSaas, client_api, flag_doc, reply, segment_doc


@pytest.fixture
def saas() -> FakeSaas:
    """One environment with a flag and a segment."""
    saas = FakeSaas()
    environment = saas.environment()
    environment.put_flag(flag_doc("a/b c"))
    environment.put_segment(segment_doc("beta", rules=[{"op": "in"}], servingRules=[{"ruleId": "r"}]))
    return saas


@pytest.fixture
def api(saas: FakeSaas) -> ClientApi:
    """The API over it."""
    return client_api(saas)


async def test_authenticate(saas: FakeSaas, api: ClientApi) -> None:
    """The session has the claims of the token."""
    session = await api.authenticate(KEY)
    assert session.environment == EnvironmentInfo(
        EnvironmentId(ENV), "production", "p-uuid", "shop", account="acme", cluster="2"
    )
    assert session.key == KEY
    (request,) = saas.requests
    assert (request.method, request.url) == ("POST", "http://client.test/api/1.0/client/auth")
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(request.body or b"") == {"apiKey": KEY.reveal()}
    assert session.token.reveal() not in repr(session)


async def test_authenticate_with_a_target(saas: FakeSaas, api: ClientApi) -> None:
    """SaaS registers it."""
    await api.authenticate(KEY, Target("anna"))
    assert json.loads(saas.requests[0].body or b"")["target"]["identifier"] == "anna"


async def test_unknown_key(api: ClientApi) -> None:
    """A definite refusal."""
    with pytest.raises(UpstreamRefused):
        await api.authenticate(SdkKey("wrong"))


async def test_key_that_json_cannot_represent(saas: FakeSaas, api: ClientApi) -> None:
    """It cannot be a valid key, so Harness is not asked."""
    with pytest.raises(UpstreamRefused):
        await api.authenticate(SdkKey("\ud800"))
    assert saas.requests == []


@pytest.mark.parametrize(
    "answer", [HTML, reply({}), reply({"authToken": "junk"}), reply({"authToken": "e30.e30.x"})]
)
async def test_unusable_auth_response(saas: FakeSaas, api: ClientApi, answer: object) -> None:
    """None of them is a refusal."""
    saas.always["/client/auth"] = answer  # type: ignore[assignment]  # the parameter's type is the test's
    with pytest.raises(UpstreamMalformed):
        await api.authenticate(KEY)


async def test_flags(saas: FakeSaas, api: ClientApi) -> None:
    """The list, asked for as the Go SDK asks."""
    session = await api.authenticate(KEY)
    assert await api.flags(session) == [flag_doc("a/b c")]
    request = saas.requests[-1]
    assert request.url == f"http://config.test/api/1.0/client/env/{ENV}/feature-configs"
    assert request.query == {"cluster": "2"}
    assert dict(request.headers) == {
        "Authorization": f"Bearer {session.token.reveal()}",
        "Harness-EnvironmentID": ENV,
        "Harness-AccountID": "acme",
        "Harness-SDK-Info": "Proxy 9.9",
        "Accept": "application/json",
    }


async def test_flag_identifiers_are_encoded_once(saas: FakeSaas, api: ClientApi) -> None:
    """A slash in an identifier is not a path separator."""
    session = await api.authenticate(KEY)
    assert await api.flag(session, "a/b c") == flag_doc("a/b c")
    assert saas.requests[-1].url.endswith("/feature-configs/a%2Fb%20c")
    assert saas.requests[-1].route == "/client/env/{env}/feature-configs/{id}"


@pytest.mark.parametrize(
    ("identifier", "sent"), [(".", "%2E"), ("..", "%2E%2E"), ("a.b", "a.b"), ("ü", "%C3%BC")]
)
async def test_odd_identifiers(saas: FakeSaas, api: ClientApi, identifier: str, sent: str) -> None:
    """None of them changes the structure of the path."""
    session = await api.authenticate(KEY)
    with pytest.raises(UpstreamRefused):
        await api.flag(session, identifier)
    assert saas.requests[-1].url.endswith(f"/feature-configs/{sent}")


async def test_segments_in_both_forms(saas: FakeSaas, api: ClientApi) -> None:
    """spec/behaviour#segment-forms."""
    session = await api.authenticate(KEY)
    assert await api.segments(session, and_rules=True) == [
        segment_doc("beta", servingRules=[{"ruleId": "r"}])
    ]
    assert saas.requests[-1].query == {"cluster": "2", "rules": "v2"}
    assert await api.segments(session, and_rules=False) == [segment_doc("beta", rules=[{"op": "in"}])]
    assert saas.requests[-1].query == {"cluster": "2"}
    assert await api.segment(session, "beta", and_rules=True) == segment_doc(
        "beta", servingRules=[{"ruleId": "r"}]
    )


@pytest.mark.parametrize("answer", [HTML, reply({"flags": []}), reply(None)])
async def test_a_response_that_is_not_a_list(saas: FakeSaas, api: ClientApi, answer: object) -> None:
    """Nothing but a list is a list."""
    saas.always["/client/env/{env}/feature-configs"] = answer  # type: ignore[assignment]  # as above
    session = await api.authenticate(KEY)
    with pytest.raises(UpstreamMalformed):
        await api.flags(session)


async def test_stream(saas: FakeSaas, api: ClientApi) -> None:
    """With token and key, and without an encoding that a middlebox could compress."""
    session = await api.authenticate(KEY)
    async with api.stream(session, 45.0) as chunks:
        assert await anext(chunks) == b":\n\n"
    request = saas.requests[-1]
    assert (request.url, request.query) == ("http://config.test/api/1.0/stream", {"cluster": "2"})
    assert request.headers["API-Key"] == KEY.reveal()
    assert request.headers["Authorization"] == f"Bearer {session.token.reveal()}"
    assert request.headers["Accept"] == "text/event-stream"
    assert request.headers["Accept-Encoding"] == "identity"


async def test_usage(saas: FakeSaas, api: ClientApi) -> None:
    """To the metrics service, with the cluster of the token."""
    session = await api.authenticate(KEY)
    await api.post_usage(session, b'{"metricsData":[]}')
    request = saas.requests[-1]
    assert request.url == f"http://events.test/api/1.0/metrics/{ENV}"
    assert request.query == {"cluster": "2"}
    assert saas.usage == [(ENV, b'{"metricsData":[]}')]


async def test_usage_answered_by_a_captive_portal(saas: FakeSaas, api: ClientApi) -> None:
    """Its page is not an acceptance, whatever the status."""
    session = await api.authenticate(KEY)
    saas.next["/metrics/{env}"] = [HTML]
    with pytest.raises(UpstreamMalformed, match="page that is not from the API"):
        await api.post_usage(session, b"{}")


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_usage_that_harness_rejects(saas: FakeSaas, api: ClientApi, status: int) -> None:
    """A definite refusal of the body."""
    session = await api.authenticate(KEY)
    saas.next["/metrics/{env}"] = [reply({}, status)]
    with pytest.raises(UpstreamRefused) as caught:
        await api.post_usage(session, b"{}")
    assert caught.value.status == status


async def test_no_account_no_header(saas: FakeSaas, api: ClientApi) -> None:
    """Unknown values are not sent."""
    session = Session(KEY, EnvironmentInfo(EnvironmentId(ENV)), Secret("t"))
    with pytest.raises(UpstreamRefused):
        await api.flags(session)
    assert "Harness-AccountID" not in saas.requests[-1].headers
