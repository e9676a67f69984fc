"""Who may use the admin address."""

import base64

import httpx2
import pytest

from tests.support.admin import BASE, AdminWorld
from tests.support.configs import config, flag

TOKEN = "a-token-of-the-tests"
PAGES = ("/", "/sdks", "/queues", "/logs", "/settings", "/environments/production", "/live")
CALLS = (
    *("/api/status", "/api/environments", "/api/settings", "/api/snapshot"),
    *("/api/openapi.json", "/openapi.json"),
)


def basic(password: str) -> dict[str, str]:
    """The field of basic authentication."""
    return {"Authorization": "Basic " + base64.b64encode(f"me:{password}".encode()).decode()}


async def log_in(http: httpx2.AsyncClient, token: str, after: str = "/") -> httpx2.Response:
    """Send the form as a browser does."""
    fields = {"token": token, "next": after}
    return await http.post("/login", data=fields, headers={"Origin": BASE, "Sec-Fetch-Site": "same-origin"})


async def test_without_a_token_everything_but_the_login_is_refused() -> None:
    """Without a token everything but the login is refused."""
    world = AdminWorld(token=TOKEN)
    async with world.client() as http:
        for path in PAGES:
            answer = await http.get(path)
            assert (answer.status_code, answer.headers["location"]) == (303, f"/login?next={path}")
        for path in CALLS:
            answer = await http.get(path)
            assert answer.status_code == 401
            assert "Bearer" in answer.headers["www-authenticate"]
        assert (await http.post("/api/reload")).status_code == 401
        assert (await http.get("/login")).status_code == 200
        assert (await http.get("/static/style.css")).status_code == 200
        assert (await http.get("/static/../app.py")).status_code != 200


@pytest.mark.parametrize("headers", [{"Authorization": f"Bearer {TOKEN}"}, basic(TOKEN)])
async def test_bearer_and_basic_let_in(headers: dict[str, str]) -> None:
    """Bearer and basic let in."""
    async with AdminWorld(token=TOKEN).client() as http:
        assert (await http.get("/api/status", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "value",
    ["Bearer", "Bearer ", "Bearer x", "Basic", "Basic !!", "Basic /w==", "Digest x", f"Bearer {TOKEN}x"],
)
async def test_anything_else_is_401_and_no_error(value: str) -> None:
    """Anything else is 401 and no error."""
    world = AdminWorld(token=TOKEN)
    async with world.client() as http:
        assert (await http.get("/api/status", headers={"Authorization": value})).status_code == 401
    assert world.failures == []


async def test_a_session_begins_with_the_token_and_ends_with_logout_or_another_token() -> None:
    """A session begins with the token and ends with logout or another token."""
    world = AdminWorld(token=TOKEN)
    async with world.client() as http:
        assert (await log_in(http, "wrong")).status_code == 401
        answer = await log_in(http, TOKEN, "/settings")
        assert (answer.status_code, answer.headers["location"]) == (303, "/settings")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert TOKEN not in cookie
        assert (await http.get("/")).status_code == 200
        held = dict(http.cookies)
        await http.post("/logout", headers={"Origin": BASE})
        http.cookies.update(held)
        assert (await http.get("/")).status_code == 303
        await log_in(http, TOKEN)
        assert (await http.get("/")).status_code == 200
        world.token = type(world.token)("another") if world.token else None
        assert (await http.get("/")).status_code == 303


@pytest.mark.parametrize(
    "after",
    [
        *("//evil.example", "https://evil.example/", "/\\evil.example", "x", "", "/\n"),
        *("//[", "http://[::1", "http://\N{ACCOUNT OF}"),
    ],
)
async def test_login_leads_to_our_own_pages_only(after: str) -> None:
    """Login leads to our own pages only, also if what it is given is not an address."""
    world = AdminWorld(token=TOKEN)
    async with world.client() as http:
        assert (await http.get("/login", params={"next": after})).status_code == 200
        assert (await log_in(http, TOKEN, after)).headers["location"] == "/"
    assert world.failures == []


async def test_wrong_tokens_are_limited_per_address_and_sessions_are_not() -> None:
    """Wrong tokens are limited per address and sessions are not."""
    world = AdminWorld(token=TOKEN)
    async with world.client("10.0.0.1") as guesser, world.client("10.0.0.2") as other:
        await log_in(other, TOKEN)
        answers = [(await log_in(guesser, f"guess-{number}")).status_code for number in range(12)]
        assert answers == [401] * 10 + [429] * 2
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert (await guesser.get("/api/status", headers=bearer)).status_code == 429
        assert (await other.get("/")).status_code == 200
        assert (await other.get("/api/status", headers=bearer)).status_code == 200
        await world.clock.advance(6)
        assert [(await log_in(guesser, "guess")).status_code for _ in range(2)] == [401, 429]
        await world.clock.advance(6)
        assert (await guesser.get("/api/status", headers=bearer)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:7000"},
        {"Origin": "http://["},
        {"Origin": "http://[::1"},
        {"Origin": "http://[x]:7001"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": BASE},
        {"Cookie": "ff_proxy_admin=x"},
    ],
)
@pytest.mark.parametrize(
    "path", ["/api/reload", "/api/log-level", "/settings/log-level", "/settings/reload", "/logout"]
)
@pytest.mark.parametrize("token", [TOKEN, None])
async def test_other_sites_can_change_nothing(headers: dict[str, str], path: str, token: str | None) -> None:
    """Other sites can change nothing."""
    async with AdminWorld(token=token).client() as http:
        if token is not None:
            headers = {**headers, **basic(token)}
        assert (await http.post(path, content=b'{"level":"DEBUG"}', headers=headers)).status_code == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:7001", 200),
        ("localhost:7001", 200),
        ("localhost", 200),
        ("[::1]:7001", 200),
        ("evil.example", 403),
        ("evil.example:7001", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example:7001", 403),
        ("", 403),
    ],
)
async def test_without_a_token_only_loopback_names_are_answered(host: str, status: int) -> None:
    """Without a token only loopback names are answered."""
    async with AdminWorld().client() as http:
        assert (await http.get("/api/status", headers={"Host": host})).status_code == status


async def test_every_answer_carries_a_strict_policy_and_nothing_inline() -> None:
    """Every answer carries a strict policy and nothing inline."""
    world = AdminWorld()
    await world.hold(config(flag()))
    async with world.client() as http:
        for path in (*PAGES[:-1], "/nope", "/api/status", "/static/style.css", "/login"):
            answer = await http.get(path)
            policy = answer.headers["content-security-policy"]
            assert "unsafe" not in policy
            assert policy.startswith("default-src 'none'")
            assert "style=" not in answer.text
            assert "<script>" not in answer.text
            assert "http://" not in answer.text.replace("http://*:7000", "").replace("http://www.w3.org", "")
