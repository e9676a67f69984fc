"""Keys and secrets show themselves to people, and never whole."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ff_proxy.model.keys import SdkKey, Secret

KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


@settings(deadline=None)
@given(KEYS, KEYS)
def test_keys_that_begin_alike_can_be_told_apart(one: str, other: str) -> None:
    """By a piece of their hash, which stands in refusals and logs in place of the key."""
    left, right = SdkKey(f"server-key-{one}"), SdkKey(f"server-key-{other}")
    assert (left.masked == right.masked) == (one == other)
    assert left.masked == f"serv***#{left.hash[:6]}"
    assert f"server-key-{one}" not in repr(left)


def test_a_short_key_shows_nothing_but_its_hash() -> None:
    """Four characters would be half of it."""
    assert SdkKey("12345678").masked == "***#ef797c"
    assert str(SdkKey("12345678")) == "SdkKey(***#ef797c)"


def test_a_secret_shows_nothing() -> None:
    """In no way of printing it."""
    assert f"{Secret('t0p')} {Secret('t0p')!r}" == "Secret(***) Secret(***)"
