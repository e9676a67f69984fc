"""``POST /client/auth`` over the wire.

See spec/behaviour#endpoints, spec/behaviour#key-checks, spec/behaviour#upward-queues;
spec/sdk-wire#auth-body, spec/sdk-wire#auth-failures, spec/sdk-wire#token-format.
"""

import base64
from collections.abc import AsyncIterator
from typing import Any

import jwt
import msgspec
import pytest

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.keys import EnvironmentId, KeyVerdict, hash_key
from ff_proxy.model.target import Target
from ff_proxy.store.memory import MemoryTargets
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT, KEY, config, flag
from tests.support.web import SECRET, Response, Site, ask, serving


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """One environment with one key."""
    async with serving(Site(), config(flag("a"))) as running:
        yield running


async def authenticate(site: Site, body: object, **headers: str) -> Response:
    """Post ``body`` as JSON."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return await ask(site, "POST", "/client/auth", {"Content-Type": "application/json", **headers}, raw)


def claims(token: str) -> dict[str, Any]:
    """What a token says, its signature checked."""
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        return dict(jwt.decode(token, SECRET.reveal(), algorithms=["HS256"]))


async def test_a_key_is_exchanged_for_a_token(site: Site) -> None:
    """Which is alone in its object (Android rejects anything else) and opens the environment."""
    got = await authenticate(site, {"apiKey": KEY})
    assert got.status == 200
    assert got.field("content-type") == "application/json"
    assert got.field("access-control-allow-origin") == "*"
    assert got.field("cache-control") == "no-store"
    assert got.json().keys() == {"authToken"}
    token = got.json()["authToken"]
    header = {"Authorization": f"Bearer {token}"}
    path = f"/client/env/{ENVIRONMENT}/feature-configs"
    assert (await ask(site, "GET", path, header)).status == 200


async def test_the_token_says_what_sdks_read(site: Site) -> None:
    """Every known claim (spec/sdk-wire#token-format), and the key's hash as the Go proxy v2 claims it."""
    info = EnvironmentInfo(ENVIRONMENT, "production", "p-uuid", "shop", "o-uuid", "acme-org", "account", "2")
    await site.hold(msgspec.structs.replace(config(flag("a")), info=info))
    token = (await authenticate(site, {"apiKey": KEY})).json()["authToken"]
    said = claims(token)
    assert isinstance(said.pop("iat"), int)
    assert said.pop("jti")
    assert said == {
        "environment": ENVIRONMENT,
        "environmentIdentifier": "production",
        "project": "p-uuid",
        "projectIdentifier": "shop",
        "organization": "o-uuid",
        "organizationIdentifier": "acme-org",
        "accountID": "account",
        "clusterIdentifier": "2",
        "apiKey": f"auth-key-{hash_key(KEY)}",
    }
    header, payload, signature = token.split(".")
    assert base64.urlsafe_b64decode(header + "==") == b'{"alg":"HS256","typ":"JWT"}'
    assert signature
    assert not set(token) & set("=+/")
    assert not set(payload) & set("-_")


async def test_claims_that_sdks_need_are_always_there(site: Site) -> None:
    """Older Python and PHP SDKs do not start without them; PHP wants a number as cluster."""
    await site.hold(msgspec.structs.replace(config(), info=EnvironmentInfo(ENVIRONMENT, cluster="eu one")))
    said = claims((await authenticate(site, {"apiKey": KEY})).json()["authToken"])
    assert said.keys() == {
        "environment",
        "environmentIdentifier",
        "accountID",
        "clusterIdentifier",
        "apiKey",
        "iat",
        "jti",
    }
    assert said["clusterIdentifier"] == "1"
    assert said["accountID"] == said["environmentIdentifier"] == ENVIRONMENT


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b"{}",
        b'{"apiKey":""}',
        b'{"apiKey":" "}',
        b'{"apiKey":7}',
        b'{"apiKey":null}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
async def test_a_body_that_names_no_key_is_400(site: Site, body: bytes) -> None:
    """In the errors' form; nothing of it is asked upstream."""
    got = await authenticate(site, body)
    assert (got.status, got.json()["code"]) == (400, "400")
    assert site.keys.asked == []


async def test_a_body_that_is_much_too_long_is_413(site: Site) -> None:
    """Nobody needs a token to post here, so a lot less is read than elsewhere."""
    assert (await authenticate(site, b" " * (1024 * 1024 + 1))).status == 413


@pytest.mark.parametrize(
    ("verdict", "status", "retry"),
    [(KeyVerdict.REFUSED, 403, None), (KeyVerdict.UNAVAILABLE, 503, "2"), (KeyVerdict.ACCEPTED, 503, "2")],
)
async def test_an_unknown_key_is_checked(
    site: Site, verdict: KeyVerdict, status: int, retry: str | None
) -> None:
    """403 only if it is definitely unknown; 401 would make Node ask for ever.

    See spec/sdk-wire#auth-failures.
    """
    site.keys.verdict = verdict
    got = await authenticate(site, {"apiKey": "unknown"})
    assert (got.status, got.field("retry-after")) == (status, retry)
    assert [key.reveal() for key in site.keys.asked] == ["unknown"]
    assert b"unknown" not in got.raw.replace(b"is not known", b"")


async def test_a_key_that_the_check_brought_is_good_at_once(site: Site) -> None:
    """Keys made in Harness work without a restart."""
    site.keys.verdict = KeyVerdict.ACCEPTED
    site.keys.learn = config(flag("a"), keys=(KEY, "new"))
    assert (await authenticate(site, {"apiKey": "new"})).status == 200


async def test_while_nothing_is_loaded_no_key_is_refused() -> None:
    """No SDK asks again after a 403; the snapshots have not been read yet."""
    site = Site()
    async with serving(site, config(flag("a"))):
        site.snapshots.ready.clear()
        got = await authenticate(site, {"apiKey": "unknown"})
        assert (got.status, got.field("retry-after"), site.keys.asked) == (503, "2", [])
        assert (await authenticate(site, {"apiKey": KEY})).status == 200


async def stored(site: Site, target: object) -> Target | None:
    """What is stored after authenticating with ``target``."""
    assert (await authenticate(site, {"apiKey": KEY, "target": target})).status == 200
    return await site.store.targets.get(ENVIRONMENT, "jane")


async def test_a_target_is_kept_and_registered(site: Site) -> None:
    """With its attributes of any type; without a name it has none, and is evaluated so."""
    attributes = {"plan": "gold", "age": 7, "tags": ["a"], "beta": True}
    jane = Target("jane", "", attributes)
    assert await stored(site, {"identifier": "jane", "attributes": attributes}) == jane
    assert site.registrar.registered == [(ENVIRONMENT, jane)]


async def test_attributes_that_are_not_sent_stay(site: Site) -> None:
    """Absent or null keeps them, even an empty object replaces them (spec/behaviour#upward-queues)."""
    await stored(site, {"identifier": "jane", "attributes": {"plan": "gold"}})
    for silent in ({"identifier": "jane", "name": "J"}, {"identifier": "jane", "attributes": None}):
        kept = await stored(site, silent)
        assert kept is not None
        assert kept.attributes == {"plan": "gold"}
    replaced = await stored(site, {"identifier": "jane", "attributes": {}})
    assert replaced is not None
    assert replaced.attributes == {}


async def test_anonymous_targets_are_kept_but_not_registered(site: Site) -> None:
    """They are evaluated like others (spec/behaviour#upward-queues)."""
    jane = await stored(site, {"identifier": "jane", "anonymous": True, "attributes": {"a": 1}})
    assert jane is not None
    assert jane.anonymous
    assert site.registrar.registered == []


@pytest.mark.parametrize(
    "target",
    [
        None,
        {},
        {"identifier": ""},
        {"identifier": "  ", "anonymous": False},
        {"identifier": None},
        [],
        "jane",
        7,
        {"name": "jane"},
        {"identifier": ["jane"]},
    ],
)
async def test_a_target_that_describes_nobody_is_none(site: Site, target: object) -> None:
    """.NET sends an empty identifier: it is neither stored nor refused (spec/sdk-wire#auth-body)."""
    assert await stored(site, target) is None
    assert site.registrar.registered == []


@pytest.mark.parametrize(
    ("identifier", "held"), [("j@ne / 100%", "j@ne / 100%"), ("\u00e9\u4e2d", "\u00e9\u4e2d"), (7, "7")]
)
async def test_odd_identifiers_are_taken(site: Site, identifier: object, held: str) -> None:
    """The Go proxy refuses them, which ends SDKs for good (spec/sdk-wire#auth-body)."""
    got = await authenticate(site, {"apiKey": KEY, "target": {"identifier": identifier}})
    assert got.status == 200
    assert await site.store.targets.get(ENVIRONMENT, held) is not None


async def test_text_that_is_cut_between_surrogates_is_taken(site: Site) -> None:
    """JavaScript can send it; strict readers refuse it."""
    body = b'{"apiKey":"%b","target":{"identifier":"jane","name":"\\ud83d"}}' % KEY.encode()
    assert (await authenticate(site, body)).status == 200
    assert await site.store.targets.get(ENVIRONMENT, "jane") is not None


class BrokenTargets(MemoryTargets):
    """A store that is away."""

    async def put(
        self,
        environment: EnvironmentId,
        target: Target,
        *,
        keep_attributes: bool = False,
        described_at: int | None = None,
    ) -> None:
        del environment, target, keep_attributes, described_at
        raise StoreUnavailable("the store is away")


async def test_a_store_that_is_away_refuses_nobody() -> None:
    """An SDK can do without attributes, but not without a token."""
    async with serving(Site(targets=BrokenTargets(FakeClock(), 10)), config(flag("a"))) as site:
        got = await authenticate(site, {"apiKey": KEY, "target": {"identifier": "jane"}})
        assert got.status == 200
