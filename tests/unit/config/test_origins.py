"""Origins are kept as browsers write them, and what no browser can send is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ff_proxy.config.origins import parse_origins
from ff_proxy.http.cors import Cors

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True)
HOST = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
PORT = st.integers(1, 65535)
SCHEMES = ("http", "https")


def allowed(listed: str, origin: str) -> bool:
    """Whether a page of ``origin`` may read answers where ``listed`` is the option's value."""
    fields = Cors(parse_origins(listed)).fields(origin.encode())
    return any(name == b"Access-Control-Allow-Origin" for name, _ in fields)


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("*", ("*",)),
        ("https://a, null ,https://a", ("https://a", "null")),
        ("https://a.example:443,http://a.example:80", ("https://a.example", "http://a.example")),
        ("https://a.example:80", ("https://a.example:80",)),
        ("HTTPS://App.Example.COM", ("https://app.example.com",)),
        ("https://*.Example.com:8443", ("https://*.example.com:8443",)),
        ("http://[::1]:3000", ("http://[::1]:3000",)),
        ("capacitor://localhost,chrome-extension://abc", ("capacitor://localhost", "chrome-extension://abc")),
        ("https://b\u00fccher.example", ("https://xn--bcher-kva.example",)),
        ("http://my_app.local", ("http://my_app.local",)),
    ],
)
def test_origins_are_read_as_browsers_write_them(text: str, origins: tuple[str, ...]) -> None:
    """Lower case, no default port, Punycode."""
    assert parse_origins(text) == origins


@pytest.mark.parametrize(
    "text",
    [
        ",",
        "a.example",
        "https://",
        "//a.example",
        "https://a/",
        "https://a/p",
        "https://a?x",
        "https://a#x",
        "https://u@a.example",
        "https://*",
        "https://*.",
        "https://a.*.example",
        "https://*.*.example",
        "https://a*.example",
        "https://*a.example",
        "https://a.example:*",
        "*://a.example",
        "https://a.example:0",
        "https://a.example:65536",
        "https://a.example:",
        "https://a..example",
        "https://a b.example",
        "https://a.example;https://b.example",
        "https://[::1",
        "'https://a.example'",
        "**",
        "https:a.example",
    ],
)
def test_what_can_never_match_is_refused(text: str) -> None:
    """Instead of letting a page fail in somebody's browser."""
    with pytest.raises(ValueError, match=r"^must "):
        parse_origins(text)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(SCHEMES), HOST, PORT)
def test_an_origin_that_is_listed_matches_itself_and_no_other(scheme: str, host: str, port: int) -> None:
    """In any case, with the default port or without."""
    usual = {"http": 80, "https": 443}[scheme]
    origin = f"{scheme}://{host}" if port == usual else f"{scheme}://{host}:{port}"
    assert allowed(f"{scheme.upper()}://{host.upper()}:{port}", origin)
    assert not allowed(origin, f"{origin}0")
    assert not allowed(origin, origin.replace("://", "://x"))
    assert not allowed(origin, f"{scheme}s{origin}")


@settings(max_examples=50, deadline=None)
@given(HOST, LABEL, HOST)
def test_a_wildcard_stands_for_whole_labels_below(host: str, label: str, others: str) -> None:
    """At any depth; not for the host itself, not for part of a label, not for another port or scheme."""
    listed = f"https://null.example,https://*.{host}"
    assert allowed(listed, f"https://{label}.{host}")
    assert allowed(listed, f"https://{others}.{host}")
    assert allowed(listed, f"https://{label.upper()}.{host}")
    below = host.partition(".")[2]
    assert allowed(listed, f"https://{host}") == (bool(below) and below.endswith(f".{host}"))
    assert not allowed(listed, f"https://{label}{host}") or f"{label}{host}".endswith(f".{host}")
    assert not allowed(listed, f"http://{label}.{host}")
    assert not allowed(listed, f"https://{label}.{host}:8443")
    assert not allowed(listed, f"https://{label}.{host}.evil.example")
    assert not allowed(listed, f"https://evil/{label}.{host}")
    assert not allowed(listed, f"https://.{host}")


@settings(deadline=None)
@given(st.text(max_size=30))
def test_no_text_ends_in_another_error(text: str) -> None:
    """What is accepted is accepted again in the form that was made of it."""
    try:
        origins = parse_origins(text)
    except ValueError as error:
        assert str(error).startswith("must ")  # noqa: PT017  (either way is fine)
        return
    assert parse_origins(",".join(origins)) == origins
