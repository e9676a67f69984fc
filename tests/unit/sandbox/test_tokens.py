"""Tokens as SaaS issues them."""

import base64
import json

import jwt
import pytest

from ff_proxy.model.keys import Secret, hash_key
from ff_proxy.sandbox.environment import Environment
from ff_proxy.sandbox.seed import default_environments
from ff_proxy.sandbox.tokens import Claims, issue_token, read_token
from ff_proxy.wire.saas_auth import read_claims

ENVIRONMENTS = default_environments()


@pytest.fixture
def token() -> str:
    """A token for the server key of the last environment."""
    return issue_token(ENVIRONMENTS[2], ENVIRONMENTS[2].keys[0])


def test_the_claims_are_those_of_saas(token: str) -> None:
    """Every claim is a text; there is no expiry, since nobody would renew it."""
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert claims == {
        "environment": "33333333-3333-4333-8333-333333333333",
        "environmentIdentifier": "back_office",
        "project": ENVIRONMENTS[2].info.project,
        "projectIdentifier": "back_office",
        "accountID": "sandbox_account",
        "organization": ENVIRONMENTS[2].info.organization,
        "organizationIdentifier": "default",
        "clusterIdentifier": "2",
        "key_type": "Server",
        "key": hash_key("sandbox-office-server-key"),
    }


def test_the_product_reads_them_as_it_reads_those_of_saas(token: str) -> None:
    """Nothing of an environment's identity is lost."""
    assert read_claims(Secret(token)) == ENVIRONMENTS[2].info


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda environment: environment.info.identifier)
def test_sdks_with_the_standard_alphabet_can_read_the_payload(environment: Environment) -> None:
    """Android and PHP drop ``-`` and ``_`` (spec/sdk-wire#token-format)."""
    for key in environment.keys:
        payload = issue_token(environment, key).split(".")[1]
        assert not set(payload) & set("-_=")


def test_a_token_is_read_back(token: str) -> None:
    """Environment and key, to check it against what exists now."""
    assert read_token(token) == Claims(ENVIRONMENTS[2].info.id, hash_key("sandbox-office-server-key"))


@pytest.mark.parametrize(
    "other", ["", "x", "a.b.c", jwt.encode({"environment": "e"}, "another secret that is long enough")]
)
def test_what_was_not_issued_here_is_not_read(other: str) -> None:
    """Signed by somebody else, or no token at all."""
    assert read_token(other) is None
