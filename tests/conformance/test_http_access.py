"""Who may read what: tokens, keys, environments (spec/behaviour#tokens)."""

import time
from collections.abc import AsyncIterator

import jwt
import msgspec
import pytest

from ff_proxy.model.keys import EnvironmentId, hash_key
from ff_proxy.store.protocol import SetKeys
from tests.support.configs import ENVIRONMENT, KEY, config, flag, segment
from tests.support.web import SECRET, Response, Site, ask, serving

OTHER = EnvironmentId("11111111-2222-4333-8444-555555555555")
OTHER_KEY = "the-other-server-key"
READS = [
    f"/client/env/{ENVIRONMENT}/{rest}"
    for rest in (
        "feature-configs",
        "feature-configs/a",
        "target-segments",
        "target-segments/beta",
        "target/t/evaluations",
        "target/t/evaluations/a",
    )
]
CONFIGS = (config(flag("a"), segment("beta")), config(flag("b"), environment=OTHER, keys=(OTHER_KEY,)))


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Two environments, each with a key of its own."""
    async with serving(Site(), *CONFIGS) as running:
        yield running


def refused(got: Response, status: int) -> bool:
    """In the errors' form, readable for browsers."""
    form = got.json()
    return (
        got.status == status
        and form == {"code": str(status), "message": form["message"], "error": form["message"]}
        and got.field("content-type") == "application/json"
        and got.field("access-control-allow-origin") == "*"
    )


def signed(claims: dict[str, object], secret: str = SECRET.reveal(), algorithm: str = "HS256") -> str:
    """A bearer header with a token that anybody with ``secret`` could make."""
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        return f"Bearer {jwt.encode(claims, secret, algorithm=algorithm)}"


@pytest.mark.parametrize("path", READS)
async def test_a_token_opens_its_environment(site: Site, path: str) -> None:
    """And the scheme's case does not matter."""
    token = site.token()
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert (await ask(site, "GET", path, {"Authorization": f"{scheme} {token}"})).status == 200


@pytest.mark.parametrize("path", READS)
async def test_a_token_opens_no_other_environment(site: Site, path: str) -> None:
    """403, which is what SaaS answers too; in both directions."""
    got = await ask(site, "GET", path, site.bearer(OTHER, OTHER_KEY))
    assert refused(got, 403)
    got = await ask(site, "GET", path.replace(ENVIRONMENT, OTHER), site.bearer())
    assert refused(got, 403)
    posted = await ask(site, "POST", f"/metrics/{ENVIRONMENT}", site.bearer(OTHER, OTHER_KEY), b"{}")
    assert refused(posted, 403)
    assert site.posts.bodies == []


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer a.b.c", "Bearer a.b", "Bearer \xe9", "Token x"],
)
async def test_without_a_good_token_nothing_is_told(site: Site, path: str, header: str | None) -> None:
    """Before anything else is looked at; a token that does not verify is 403 where SDKs heal by that."""
    got = await ask(site, "GET", path, {} if header is None else {"Authorization": header})
    token = header is not None and header.startswith("Bearer ") and header != "Bearer "
    status = 403 if token and "evaluations" not in path else 401
    assert refused(got, status)
    assert got.field("www-authenticate") == ("Bearer" if status == 401 else None)


async def test_a_token_must_be_signed_with_the_secret(site: Site) -> None:
    """By HS256 and nothing else, none least of all."""
    claims: dict[str, object] = {"environment": ENVIRONMENT, "apiKey": f"auth-key-{hash_key(KEY)}"}
    none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0." + signed(claims).split(".")[1] + "."
    for header in (
        signed(claims, "another secret"),
        signed(claims, algorithm="HS512"),
        f"Bearer {none}",
        signed(claims)[:-4] + "AAAA",
    ):
        for path in READS:
            status = 401 if "evaluations" in path else 403
            assert refused(await ask(site, "GET", path, {"Authorization": header}), status)


async def test_a_token_of_the_go_proxy_v2_works(site: Site) -> None:
    """As long as the key it names does, whatever its clock said."""
    claims: dict[str, object] = {
        "environment": ENVIRONMENT,
        "clusterIdentifier": "1",
        "apiKey": f"auth-key-{hash_key(KEY)}",
        "iat": int(time.time()) + 5000,
        "nbf": int(time.time()) + 5000,
    }
    assert (await ask(site, "GET", READS[0], {"Authorization": signed(claims)})).status == 200
    claims["apiKey"] = f"auth-key-{hash_key('unknown')}"
    assert refused(await ask(site, "GET", READS[0], {"Authorization": signed(claims)}), 403)


@pytest.mark.parametrize(
    "odd",
    [
        {"environment": None},
        {"environment": 7},
        {"environment": ""},
        {"apiKey": None},
        {"apiKey": 7},
        {"apiKey": "auth-key-"},
        {"exp": 4102444800},
    ],
)
async def test_a_token_that_no_proxy_writes_is_refused(site: Site, odd: dict[str, object]) -> None:
    """Even if it is signed well; an expiry would have to be kept, so it is not taken at all."""
    good: dict[str, object] = {"environment": ENVIRONMENT, "apiKey": f"auth-key-{hash_key(KEY)}"}
    assert (await ask(site, "GET", READS[0], {"Authorization": signed(good)})).status == 200
    assert refused(await ask(site, "GET", READS[0], {"Authorization": signed(good | odd)}), 403)


async def test_a_token_of_the_go_proxy_v1_works_where_it_is_allowed() -> None:
    """It names no key, so it lives while its environment has one (spec/behaviour#token-secrets)."""
    header = {"Authorization": signed({"environment": ENVIRONMENT, "clusterIdentifier": "1"})}
    async with serving(Site(), *CONFIGS) as site:
        assert refused(await ask(site, "GET", READS[0], header), 403)
    async with serving(Site(keyless=True), *CONFIGS) as site:
        assert (await ask(site, "GET", READS[0], header)).status == 200
        await site.store.configs.apply(ENVIRONMENT, SetKeys(frozenset()))
        await site.snapshots.resync()
        assert refused(await ask(site, "GET", READS[0], header), 403)


@pytest.mark.parametrize("path", READS)
async def test_a_revoked_key_closes_at_once(site: Site, path: str) -> None:
    """With the very next request, however often the same one was answered before."""
    header = site.bearer()
    for _ in range(3):
        assert (await ask(site, "GET", path, header)).status == 200
    await site.store.configs.apply(ENVIRONMENT, SetKeys(frozenset([hash_key("new")])))
    await site.snapshots.resync()
    assert refused(await ask(site, "GET", path, header), 403)
    posted = await ask(site, "POST", f"/metrics/{ENVIRONMENT}", header, b"{}")
    assert refused(posted, 403)


@pytest.mark.parametrize("path", READS)
async def test_an_environment_that_is_not_loaded_is_502(path: str) -> None:
    """SDKs try again after a 502; a 503 ends the Python SDK for good."""
    async with serving(Site(), *CONFIGS) as before:
        header = before.bearer()
    async with serving(Site()) as site:
        got = await ask(site, "GET", path, header)
        assert refused(got, 502)
        assert got.field("retry-after") == "2"
        posted = await ask(site, "POST", f"/metrics/{ENVIRONMENT}", header, b"{}")
        assert posted.status == 200


async def test_tokens_of_an_environment_that_is_not_configured_any_more_are_403() -> None:
    """As those of a revoked key: nothing is loaded that SDKs could wait for."""
    async with serving(Site(), *CONFIGS) as site:
        header = site.bearer()
        site.given_up.add(ENVIRONMENT)
        assert (await ask(site, "GET", READS[0], header)).status == 200
        await site.store.configs.remove(ENVIRONMENT)
        await site.snapshots.resync()
        for path in READS:
            assert refused(await ask(site, "GET", path, header), 403)
        assert refused(await ask(site, "POST", f"/metrics/{ENVIRONMENT}", header, b"{}"), 403)
        stream = await ask(site, "GET", "/stream", {**header, "API-Key": KEY})
        assert (stream.status, stream.body) == (403, b"")


@pytest.mark.parametrize("path", READS)
async def test_bypass_asks_for_no_token(path: str) -> None:
    """The environment is the path's, an unknown one is 404 (spec/behaviour#combinations)."""
    async with serving(Site(bypass=True), *CONFIGS) as site:
        assert (await ask(site, "GET", path)).status == 200
        assert (await ask(site, "GET", path, {"Authorization": "Bearer nonsense"})).status == 200
        assert refused(await ask(site, "GET", path.replace(ENVIRONMENT, "unknown")), 404)
        assert (await ask(site, "POST", f"/metrics/{ENVIRONMENT}", {}, b"{}")).status == 200
        assert refused(await ask(site, "POST", "/metrics/unknown", {}, b"{}"), 404)
        body = msgspec.json.encode({"apiKey": KEY})
        assert (await ask(site, "POST", "/client/auth", {}, body)).status == 200
