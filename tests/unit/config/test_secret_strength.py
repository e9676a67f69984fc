"""Secrets that can be guessed are told from those that cannot, whatever they are made of."""

import base64
import random
import string
import uuid
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.config.load import load
from ff_proxy.config.secret_strength import ENOUGH_BITS, guessing_bits

GENERATORS: dict[str, Callable[[random.Random], str]] = {
    "16 bytes in hex": lambda chance: chance.randbytes(16).hex(),
    "16 bytes in capital hex": lambda chance: chance.randbytes(16).hex().upper(),
    "32 bytes in hex": lambda chance: chance.randbytes(32).hex(),
    "16 bytes in base64": lambda chance: base64.b64encode(chance.randbytes(16)).decode(),
    "32 bytes in base64": lambda chance: base64.urlsafe_b64encode(chance.randbytes(32)).decode(),
    "a UUID": lambda chance: str(uuid.UUID(bytes=chance.randbytes(16), version=4)),
    "20 letters and digits": lambda chance: "".join(
        chance.choices(string.ascii_letters + string.digits, k=20)
    ),
    "24 of everything": lambda chance: "".join(
        chance.choices(string.ascii_letters + string.digits + "!#%&()*+,-./:;<=>?@[]^_{|}~", k=24)
    ),
    "40 digits": lambda chance: "".join(chance.choices(string.digits, k=40)),
}

WORDS = st.sampled_from(
    [
        "secret",
        "change",
        "me",
        "my",
        "auth",
        "harness",
        "proxy",
        "token",
        "Password",
        "test",
        "ff",
        "key",
        "dev",
    ]
)
ENDINGS = st.sampled_from(["", "1", "42", "123", "2026", "!", "123456789", "xyz"])


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
@given(seed=st.integers(min_value=0))
def test_what_chance_made_is_good(make: Callable[[random.Random], str], seed: int) -> None:
    """No warning for those who did as they were told, however chance fell."""
    assert guessing_bits(make(random.Random(seed))) >= ENOUGH_BITS


@given(words=st.lists(WORDS, min_size=1, max_size=5), joint=st.sampled_from(["", "-", "_", " "]), end=ENDINGS)
def test_what_people_think_of_is_not(words: list[str], joint: str, end: str) -> None:
    """Well-known words and a number, joined in any way, some letters written as digits."""
    text = joint.join(words) + end
    assert guessing_bits(text) < ENOUGH_BITS
    assert guessing_bits(text.upper()) < ENOUGH_BITS
    assert guessing_bits(text.replace("e", "3").replace("o", "0").replace("s", "5")) < ENOUGH_BITS


@given(piece=st.text(string.ascii_letters + string.digits, min_size=1, max_size=6), times=st.integers(2, 40))
def test_repeating_does_not_help(piece: str, times: int) -> None:
    """Nor do rows of neighbours."""
    assert guessing_bits(piece * times) < ENOUGH_BITS
    assert guessing_bits(string.ascii_lowercase + "0123456789"[: len(piece)]) < ENOUGH_BITS


@given(text=st.text(max_size=10))
def test_what_is_short_is_not_good(text: str) -> None:
    """Nobody remembers ten characters out of more than those of a keyboard."""
    if text.isascii():
        assert guessing_bits(text) < ENOUGH_BITS


@pytest.mark.parametrize(
    "text",
    [
        "secret",
        "any-auth-secret",
        "$ANY_AUTH_SECRET",
        "changeme",
        "s3cr3t-t0k3n",
        "this-is-not-a-very-secret-string-please-change",
        "replace-this-with-a-long-random-string",
        "hunter2",
        "0000000000000000000000000000000000000000",
        "11111111-1111-1111-1111-111111111111",
    ],
)
def test_a_start_warns_and_does_not_repeat_it(text: str) -> None:
    """One line, for examples of pages and charts too; generating signs nothing, so it says nothing."""
    (said,) = load(["-offline", "-auth-secret", text], {}).warnings
    assert said.startswith("auth-secret ")
    assert text not in said or text == "secret"
    options = ["-account-identifier=a", "-org-identifier=o", "-admin-service-token=t", "-api-keys=k"]
    assert not load(["-generate-offline-config", "-auth-secret", text, *options], {}).warnings


@given(text=st.text(st.characters(exclude_categories=("C", "Z")), min_size=1))
def test_no_secret_is_repeated(text: str) -> None:
    """Whatever is in it, it starts, and warnings have one wording."""
    warnings = load([f"-auth-secret=~{text}", "-offline"], {}).warnings
    assert {said.split(",")[0] for said in warnings} <= {"auth-secret can be guessed"}
