"""Derived signing secrets (spec/behaviour#token-secrets)."""

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.api.derived_secrets import SecretsFromKeyHashes, SecretsFromServerKeys, derived_secret
from ff_proxy.api.tokens import Tokens
from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.keys import EnvironmentId, SdkKey, SdkKeyHash, Secret, hash_key
from tests.support.clock import FakeClock

ONE, TWO = EnvironmentId("env-1"), EnvironmentId("env-2")
_TEXTS = st.text(min_size=1, max_size=12)
_KEYS = st.sets(_TEXTS, min_size=1, max_size=5)


class Environments:
    """Which keys each environment has; one that is not there is not loaded."""

    def __init__(self, **keys: set[str]) -> None:
        self.held = {EnvironmentId(name.replace("_", "-")): keys for name, keys in keys.items()}

    def keys_of(self, environment: EnvironmentId) -> frozenset[SdkKeyHash] | None:
        found = self.held.get(environment)
        return None if found is None else frozenset(map(hash_key, found))


def tokens(configured: set[str], environments: Environments, secret: Secret | None = None) -> Tokens:
    """Those of an online proxy."""
    derived = SecretsFromServerKeys(map(SdkKey, sorted(configured)), environments.keys_of)
    return Tokens(secret, FakeClock(), derived=derived)


def test_the_derivation_is_hkdf() -> None:
    """RFC 5869 with SHA-256: extract with the salt, expand with the info, one block."""
    key = hmac.new(b"ff-proxy token secret 2", b"material", hashlib.sha256).digest()
    block = hmac.new(key, b"auth-secret\0env-1\x01", hashlib.sha256).hexdigest()
    assert derived_secret(ONE, "material").reveal() == block


@given(before=_KEYS, added=_KEYS, others=_KEYS)
def test_more_keys_or_environments_invalidate_no_token(
    before: set[str], added: set[str], others: set[str]
) -> None:
    """A token that was signed under any of an environment's keys stays good beside more of them."""
    environments = Environments(env_1=before | added, env_2=others)
    token = tokens(before, environments).issue(EnvironmentInfo(ONE), hash_key("client")).encode()
    claims = tokens(before | added | others, environments).verify(token)
    assert claims is not None
    assert claims.environment == ONE


@given(keys=_KEYS, kept=st.booleans())
def test_a_key_that_is_taken_away_invalidates_nobody_while_the_process_lives(
    keys: set[str], *, kept: bool
) -> None:
    """It signs no more, if another one can; a token then outlives a restart."""
    environments = Environments(env_1=keys)
    first, *others = sorted(keys, key=hash_key)
    derived = SecretsFromServerKeys(map(SdkKey, keys), environments.keys_of)
    running = Tokens(None, FakeClock(), derived=derived)
    before = running.issue(EnvironmentInfo(ONE), hash_key("client")).encode()
    derived.configure(map(SdkKey, others))
    assert running.verify(before) is not None
    after = running.issue(EnvironmentInfo(ONE), hash_key("client")).encode()
    assert running.verify(after) is not None
    restarted = tokens(set(others), environments)
    assert (restarted.verify(after) is not None) == bool(others)
    if kept:
        derived.configure([SdkKey(first)])
        assert running.verify(after) is not None


def test_tokens_of_an_environment_that_is_given_up_are_not_undecided() -> None:
    """The environment will never be loaded, so there is nothing to wait for."""
    environments = Environments(env_1={"key"})
    token = tokens({"key"}, environments).issue(EnvironmentInfo(ONE), hash_key("client")).encode()
    derived = SecretsFromServerKeys([SdkKey("other")], Environments(env_2={"other"}).keys_of)
    later = Tokens(None, FakeClock(), derived=derived, given_up=lambda name: name == ONE)
    assert later.verify(token) is None
    assert not later.undecided(token)


@given(own=_KEYS, theirs=_KEYS)
def test_a_key_gives_no_access_to_another_environment(own: set[str], theirs: set[str]) -> None:
    """The keys of one environment do not suffice to make tokens for another."""
    theirs -= own
    environments = Environments(env_1=own, env_2=theirs)
    forger = tokens(own, Environments(env_2=own))  # derives for the other environment from its own keys
    forged = forger.issue(EnvironmentInfo(TWO), hash_key("client")).encode()
    assert tokens(own | theirs, environments).verify(forged) is None


def test_tokens_of_an_environment_that_is_not_loaded_are_undecided() -> None:
    """They may be valid: they are neither accepted nor refused, nor cached."""
    environments = Environments(env_1={"key"})
    token = tokens({"key"}, environments).issue(EnvironmentInfo(ONE), hash_key("client")).encode()
    keys = environments.held.pop(ONE)
    restarted = tokens({"key"}, environments)
    assert restarted.verify(token) is None
    assert restarted.undecided(token)
    assert not restarted.undecided(b"what.ever.else")
    environments.held[ONE] = keys
    assert restarted.verify(token) is not None
    assert not restarted.undecided(token + b"x")


def test_tokens_of_both_secrets_are_valid_once_the_store_has_answered() -> None:
    """A member that started without Redis signed with a derived one (spec/behaviour#redis-optional)."""
    environments = Environments(env_1={"key"})
    derived = SecretsFromServerKeys([SdkKey("key")], environments.keys_of)
    member = Tokens(None, FakeClock(), derived=derived, awaiting=True)
    stored = Tokens(Secret("stored"), FakeClock())
    early = member.issue(EnvironmentInfo(ONE), hash_key("client")).encode()
    others = stored.issue(EnvironmentInfo(ONE), hash_key("client")).encode()
    assert member.verify(others) is None
    assert member.undecided(others)
    member.adopt(Secret("stored"))
    assert member.verify(others) is not None
    assert member.verify(early) is not None
    assert not member.undecided(b"a.b.c")
    late = member.issue(EnvironmentInfo(ONE), hash_key("another")).encode()
    assert stored.verify(late) is not None


def test_a_derived_secret_of_another_member_is_valid_for_its_environment_only() -> None:
    """The member publishes the secret that it signs with."""
    environments = Environments(env_1={"key"})
    used: dict[EnvironmentId, Secret] = {}
    derived = SecretsFromServerKeys([SdkKey("key")], environments.keys_of, used.__setitem__)
    member = Tokens(None, FakeClock(), derived=derived)
    token = member.issue(EnvironmentInfo(ONE), hash_key("client")).encode()
    replica = Tokens(Secret("stored"), FakeClock(), bound=lambda name: [used[name]] if name in used else [])
    assert replica.verify(token) is not None
    forged = Tokens(used[ONE], FakeClock()).issue(EnvironmentInfo(TWO), hash_key("client")).encode()
    assert replica.verify(forged) is None


def test_offline_edits_of_keys_invalidate_no_token_while_the_process_runs() -> None:
    """And all replicas of one directory derive the same secret."""
    environments = Environments(env_1={"a"})
    one, other = SecretsFromKeyHashes(environments.keys_of), SecretsFromKeyHashes(environments.keys_of)
    first = one.signing(ONE)
    assert first is not None
    assert first == other.signing(ONE)
    environments.held[ONE] = {"a", "b"}
    assert one.signing(ONE) not in {None, first}
    assert first in one.accepted(ONE)
    for number in range(100):
        environments.held[ONE] = {str(number)}
        one.signing(ONE)
    assert len(one.accepted(ONE)) < 50
    assert one.signing(TWO) is None
    assert not one.known(TWO)
