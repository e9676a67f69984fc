"""One decision about every answer."""

import pytest

from ff_proxy.errors import UpstreamError, UpstreamMalformed, UpstreamRefused, UpstreamUnavailable
from ff_proxy.telemetry import Telemetry, null_telemetry
from ff_proxy.upstream.responses import Caller, read_json, read_list
from ff_proxy.upstream.transport import Reply, Request
from tests.support.saas import HTML, JSON, FakeSaas, reply

REQUEST = Request("GET", "http://saas.test/x", "/x", environment="e")


@pytest.fixture
def saas() -> FakeSaas:
    """Answers what is scripted."""
    return FakeSaas()


def answered(status: int, body: bytes = b"", **headers: str) -> Reply:
    """An answer with dashes for underscores in its header names."""
    return Reply(status, {name.replace("_", "-"): text for name, text in headers.items()}, body)


async def outcome(saas: FakeSaas, scripted: Reply, request: Request = REQUEST) -> UpstreamError:
    """The error that an answer becomes."""
    saas.next["/x"] = [scripted]
    with pytest.raises(UpstreamError) as caught:
        await Caller(saas, null_telemetry()).call(request)
    return caught.value


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_success(saas: FakeSaas, status: int) -> None:
    """The body is handed over."""
    saas.next["/x"] = [answered(status, b"ok")]
    assert (await Caller(saas, null_telemetry()).call(REQUEST)).body == b"ok"


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize("body", [b"", b'{"code":"403","message":"no"}'])
async def test_definite(saas: FakeSaas, status: int, body: bytes) -> None:
    """SaaS's own no."""
    error = await outcome(saas, Reply(status, JSON, body))
    assert isinstance(error, UpstreamRefused)
    assert error.status == status


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_page_of_a_middlebox_is_not_definite(saas: FakeSaas, status: int) -> None:
    """A login page must not make us drop flags or refuse keys."""
    error = await outcome(saas, answered(status, b"<html>", content_type="text/html; charset=utf-8"))
    assert isinstance(error, UpstreamMalformed)


async def test_a_gateways_404_is_not_definite(saas: FakeSaas) -> None:
    """Such as an ingress without a backend."""
    error = await outcome(saas, answered(404, b"default backend - 404", content_type="text/plain"))
    assert isinstance(error, UpstreamMalformed)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_worth_a_retry(saas: FakeSaas, status: int) -> None:
    """Whatever its body."""
    error = await outcome(saas, answered(status, b"<html>", content_type="text/html"))
    assert isinstance(error, UpstreamUnavailable)


@pytest.mark.parametrize(
    ("text", "seconds"), [("7", 7.0), ("99999", 300.0), ("soon", None), ("-1", None), ("", None)]
)
async def test_retry_after(saas: FakeSaas, text: str, seconds: float | None) -> None:
    """Bounded, and ignored if it is no number."""
    error = await outcome(saas, answered(503, retry_after=text))
    assert isinstance(error, UpstreamUnavailable)
    assert error.retry_after == seconds


async def test_redirect_names_where_to(saas: FakeSaas) -> None:
    """An old address in the options shows at once."""
    error = await outcome(saas, answered(301, location="https://app.test/gateway?token=1"))
    assert isinstance(error, UpstreamMalformed)
    assert "https://app.test;" in str(error)
    assert "token" not in str(error)


@pytest.mark.parametrize(
    ("location", "named"),
    [
        ("/login", "http://saas.test"),
        ("login?token=1", "http://saas.test"),
        ("//sso.test/login", "http://sso.test"),
        ("https://sso.test:99999999/", "https://sso.test"),
        ("", "nowhere"),
        ("http://[sso.test/", "an address that is not valid"),
        ("//[/", "an address that is not valid"),
    ],
)
async def test_any_redirect_is_an_error_of_ours(saas: FakeSaas, location: str, named: str) -> None:
    """Gateways redirect to a page of their own, and some write addresses that are none."""
    error = await outcome(saas, answered(302, location=location))
    assert isinstance(error, UpstreamMalformed)
    assert f"a redirect to {named};" in str(error)


async def test_a_400_is_definite_only_where_the_request_says_so(saas: FakeSaas) -> None:
    """For a posted body it is, for a key it is not (spec/behaviour#key-checks)."""
    assert isinstance(await outcome(saas, answered(400)), UpstreamMalformed)
    posting = Request("POST", "http://saas.test/x", "/x", definite=frozenset({400}))
    assert isinstance(
        await outcome(saas, answered(400, b"<html>", content_type="text/html"), posting), UpstreamRefused
    )


async def test_requests_are_counted(saas: FakeSaas) -> None:
    """By route, environment and status; without an answer the status is an error."""
    telemetry = null_telemetry()
    saas.next["/x"] = [reply({}), UpstreamUnavailable("down")]
    caller = Caller(saas, telemetry)
    await caller.call(REQUEST)
    with pytest.raises(UpstreamUnavailable):
        await caller.call(REQUEST)
    text = telemetry.exposition().decode()
    assert 'ff_proxy_to_client_service_requests{code="200",envID="e",url="/x"} 1.0' in text
    assert 'ff_proxy_to_client_service_requests{code="error",envID="e",url="/x"} 1.0' in text


async def open_stream(saas: FakeSaas, telemetry: Telemetry) -> None:
    """Open and leave."""
    async with Caller(saas, telemetry).stream(REQUEST, 5.0):
        pass


async def test_stream_wants_an_event_stream(saas: FakeSaas) -> None:
    """A page with status 200 is no stream."""
    saas.next["/x"] = [HTML]
    with pytest.raises(UpstreamMalformed, match="answered text/html, not a stream"):
        await open_stream(saas, null_telemetry())


async def test_refused_stream(saas: FakeSaas) -> None:
    """The same decision as for other answers, and counted once."""
    telemetry = null_telemetry()
    saas.next["/x"] = [answered(503, retry_after="3")]
    with pytest.raises(UpstreamUnavailable) as caught:
        await open_stream(saas, telemetry)
    assert caught.value.retry_after == 3
    assert 'code="503"' in telemetry.exposition().decode()
    assert 'code="error"' not in telemetry.exposition().decode()


async def test_unreachable_stream_is_counted(saas: FakeSaas) -> None:
    """No answer is an error."""
    telemetry = null_telemetry()
    saas.next["/x"] = [UpstreamUnavailable("down")]
    with pytest.raises(UpstreamUnavailable):
        await open_stream(saas, telemetry)
    assert 'code="error"' in telemetry.exposition().decode()


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1,", b"\xff", b"NaN", b"[" * 100_000])
def test_no_json(body: bytes) -> None:
    """Pages and halves."""
    with pytest.raises(UpstreamMalformed):
        read_json(REQUEST, Reply(200, {}, body))


def test_lone_surrogates_are_json() -> None:
    """One bad text in one flag must not spoil the list."""
    assert read_list(REQUEST, Reply(200, {}, b'["\\ud800"]')) == ["\ufffd"]


@pytest.mark.parametrize("body", [b"{}", b"null", b'"x"'])
def test_no_list(body: bytes) -> None:
    """Null is not an empty list."""
    with pytest.raises(UpstreamMalformed):
        read_list(REQUEST, Reply(200, {}, body))


@pytest.mark.parametrize(
    ("media", "body", "shown"),
    [
        (
            "text/html; charset=utf-8",
            b"\n<!DOCTYPE html>\n  <title>Log in",
            "text/html, begins with '<!DOCTYPE html> <title>Log in'",
        ),
        ("", b"upstream \x00 gone", "no content type, begins with 'upstream ? gone'"),
        ("text/plain", b"", "text/plain, empty"),
        ("application/json", b'{"authToken":"eyJ-secret', "application/json, 24 bytes"),
    ],
)
def test_what_is_no_json_is_shown(media: str, body: bytes, shown: str) -> None:
    """Its type and how it begins; of JSON that was cut off nothing, as it may hold a token."""
    with pytest.raises(UpstreamMalformed) as caught:
        read_json(REQUEST, Reply(200, {"content-type": media}, body))
    assert str(caught.value).endswith(shown)


def test_what_is_shown_is_short() -> None:
    """A page may be long."""
    with pytest.raises(UpstreamMalformed) as caught:
        read_json(REQUEST, Reply(200, {}, b"<p>" + b"x" * 100_000))
    assert len(str(caught.value)) < 300
