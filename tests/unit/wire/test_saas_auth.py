"""What is posted to authenticate, and what is read of the answer."""

import base64
import json

import pytest

from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.keys import EnvironmentId, SdkKey, Secret
from ff_proxy.model.target import Target
from ff_proxy.wire.saas_auth import auth_body, read_auth_token, read_claims


def make_token(claims: object, *, padded: bool = False) -> Secret:
    """A token with these claims."""
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()
    return Secret(f"e30.{payload if padded else payload.rstrip('=')}.sig")


def test_body_with_a_key_alone() -> None:
    """As server SDKs authenticate."""
    assert json.loads(auth_body(SdkKey("key"))) == {"apiKey": "key"}


def test_body_with_a_target() -> None:
    """All of the target, so that SaaS can register it; a missing name is the identifier."""
    body = json.loads(auth_body(SdkKey("key"), Target("anna", attributes={"age": 7, "tags": ["a"]})))
    assert body == {
        "apiKey": "key",
        "target": {
            "identifier": "anna",
            "name": "anna",
            "anonymous": False,
            "attributes": {"age": 7, "tags": ["a"]},
        },
    }


@pytest.mark.parametrize(("key", "target"), [("\ud800", None), ("key", Target("\ud800"))])
def test_what_json_cannot_carry_is_a_value_error(key: str, target: Target | None) -> None:
    """The one error a caller has to expect."""
    with pytest.raises(ValueError, match="surrogates"):
        auth_body(SdkKey(key), target)


def test_token_is_read_and_masked() -> None:
    """It never shows in a log."""
    token = read_auth_token(b'{"authToken":"a.b.c","more":1}')
    assert token is not None
    assert token.reveal() == "a.b.c"
    assert "a.b.c" not in repr(token)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"authToken":""}', b'{"authToken":7}', b"<html>", b"\xff"]
)
def test_answers_without_a_token(body: bytes) -> None:
    """None of them raises."""
    assert read_auth_token(body) is None


@pytest.mark.parametrize("padded", [False, True])
def test_claims(padded: bool) -> None:
    """Everything SaaS says of the environment."""
    claims = {
        "environment": "e-uuid",
        "environmentIdentifier": "production",
        "project": "p-uuid",
        "projectIdentifier": "shop",
        "organization": "o-uuid",
        "organizationIdentifier": "default",
        "accountID": "acme",
        "clusterIdentifier": "2",
        "key_type": "Server",
    }
    assert read_claims(make_token(claims, padded=padded)) == EnvironmentInfo(
        EnvironmentId("e-uuid"), "production", "p-uuid", "shop", "o-uuid", "default", "acme", "2"
    )


def test_only_the_environment_is_needed() -> None:
    """Other claims of the wrong type count as missing; the cluster has a default."""
    claims = {"environment": "e", "clusterIdentifier": None, "project": 7}
    assert read_claims(make_token(claims)) == EnvironmentInfo(EnvironmentId("e"))


def test_numeric_cluster() -> None:
    """A number will do."""
    info = read_claims(make_token({"environment": "e", "clusterIdentifier": 3}))
    assert info is not None
    assert info.cluster == "3"


@pytest.mark.parametrize(
    "token", ["", "a", "a.b", "a.%%.c", "a.ü.c", "e30.e30.x", "e30.W10.x", "e30.eyJlbnZpcm9ubWVudCI6IiJ9.x"]
)
def test_tokens_that_name_no_environment(token: str) -> None:
    """None of them raises."""
    assert read_claims(Secret(token)) is None
