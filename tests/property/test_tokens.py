"""Tokens that every SDK can read, whatever Harness calls its projects (spec/sdk-wire#token-format)."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.api.tokens import Tokens
from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.keys import EnvironmentId, Secret, hash_key
from ff_proxy.wire.sdk import read_claims
from tests.support.clock import FakeClock

# The characters that base64url turns into "-" and "_" more often than any other would be.
TEXTS = st.one_of(
    st.text(), st.text('?>~\x7f\\"u/ abc'), st.sampled_from(["", "~~~", "???", ">>>>", "\ud83d"])
)
INFOS = st.builds(
    EnvironmentInfo,
    id=st.text(min_size=1).map(EnvironmentId),
    identifier=TEXTS,
    project=TEXTS,
    project_identifier=TEXTS,
    organization=TEXTS,
    organization_identifier=TEXTS,
    account=TEXTS,
    cluster=TEXTS,
)
SECRETS = st.text(min_size=1).map(Secret)


@given(INFOS, SECRETS, st.floats(0, 1e11))
def test_a_payload_is_read_alike_by_every_decoder(info: EnvironmentInfo, secret: Secret, now: float) -> None:
    """Those for the standard alphabet skip ``-`` and ``_``; all find the same ASCII JSON."""
    token = Tokens(secret, FakeClock(now)).issue(info, hash_key("key"))
    header, payload, signature = token.split(".")
    assert header
    assert signature
    assert not set(payload) & set("-_=")
    padded = payload + "=" * (-len(payload) % 4)
    standard = base64.b64decode(padded, validate=True)
    assert standard == base64.urlsafe_b64decode(padded)
    assert standard.isascii()
    claims = json.loads(standard)
    assert claims["environment"] == info.id
    assert claims["clusterIdentifier"].isdigit()
    assert "exp" not in claims
    assert "nbf" not in claims
    assert all(isinstance(claim, str) for name, claim in claims.items() if name != "iat")


@given(INFOS, SECRETS, st.floats(0, 1e11))
def test_what_is_issued_is_verified(info: EnvironmentInfo, secret: Secret, now: float) -> None:
    """By any member with the same secret, whatever its clock says, and by no other."""
    key = hash_key("key")
    token = Tokens(secret, FakeClock(now)).issue(info, key).encode()
    for _ in range(2):
        claims = Tokens(secret, FakeClock(0)).verify(token)
        assert claims is not None
        assert (claims.environment, claims.key) == (info.id, key)
        assert claims.issued_at == pytest.approx(now, rel=1e-15, abs=1e-6)
    assert Tokens(Secret(secret.reveal() + "x"), FakeClock(now)).verify(token) is None


@given(st.floats(1.6e9, 2e9), st.floats(1e-5, 2))
def test_a_token_tells_when_it_was_issued_within_its_second(now: float, pause: float) -> None:
    """An SDK that authenticates, and is back after a restart in the same second, may hold old values."""
    issued = []
    for clock in (FakeClock(now), FakeClock(now + pause)):
        token = Tokens(Secret("secret"), clock).issue(EnvironmentInfo(EnvironmentId("e")), hash_key("key"))
        claims = Tokens(Secret("secret"), FakeClock()).verify(token.encode())
        assert claims is not None
        assert claims.issued_at is not None
        assert claims.issued_at == pytest.approx(clock.wall(), rel=0, abs=2e-6)
        issued.append(claims.issued_at)
    assert issued[0] < issued[1]


@pytest.mark.parametrize(
    "serial", [None, 5, "", "5", "5.5", ".5", "5.", "x.5", "-5.5", "9" * 40 + ".5", "f.g"]
)
def test_a_serial_of_others_says_nothing_of_the_time(serial: object) -> None:
    """Then the whole second counts."""
    claims = read_claims(json.dumps({"environment": "e", "iat": 1_700_000_000, "jti": serial}).encode())
    assert claims is not None
    assert claims.issued_at == 1_700_000_000


@given(INFOS)
def test_no_two_tokens_are_alike(info: EnvironmentInfo) -> None:
    """Not even those of one key and second: each SDK is known by its own."""
    tokens = Tokens(Secret("secret"), FakeClock(1000.0))
    issued = {tokens.issue(info, hash_key("key")) for _ in range(5)}
    assert len(issued) == 5
    assert all(tokens.verify(token.encode()) for token in issued)


@given(INFOS, st.data())
def test_no_other_text_is_a_token(info: EnvironmentInfo, data: st.DataObject) -> None:
    """Whatever is changed in a good one, but for bits that its encoding does not use."""
    tokens = Tokens(Secret("secret"), FakeClock())
    token = tokens.issue(info, hash_key("key")).encode()
    position = data.draw(st.integers(0, len(token) - 1))
    character = data.draw(st.binary(max_size=1))
    changed = token[:position] + character + token[position + 1 :]
    same = changed == token or _signature(changed) == _signature(token)
    assert (tokens.verify(changed) is None) is not same


def _signature(token: bytes) -> tuple[bytes, bytes]:
    signed, _, signature = token.rpartition(b".")
    return signed, base64.urlsafe_b64decode(signature + b"==")


def test_a_fleet_with_two_secrets() -> None:
    """A member takes what the others sign, from when it knows their secret."""
    others: list[Secret] = []
    own = Tokens(Secret("own"), FakeClock(), others=lambda: others)
    token = Tokens(Secret("other"), FakeClock()).issue(EnvironmentInfo(EnvironmentId("e")), hash_key("key"))
    assert own.verify(token.encode()) is None
    others.append(Secret("other"))
    claims = own.verify(token.encode())
    assert claims is not None
    assert claims.environment == "e"
    assert own.verify(token[:-4].encode() + b"AAAA") is None


def test_an_environment_that_utf8_cannot_encode_has_tokens() -> None:
    """A directory's name may be any bytes: a lone surrogate counts as U+FFFD, as wherever JSON is read."""
    tokens = Tokens(Secret("secret"), FakeClock())
    claims = tokens.verify(tokens.issue(EnvironmentInfo(EnvironmentId("e\udcff")), hash_key("key")).encode())
    assert claims is not None
    assert claims.environment == "e\ufffd"
