"""Each type of value reads what it must and refuses the rest in words that say what it must be."""

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from ff_proxy.config import value_types as kinds
from ff_proxy.config.addresses import HostPort
from ff_proxy.config.value_types import ValueType
from ff_proxy.model.keys import SdkKey, Secret


@pytest.mark.parametrize(
    ("kind", "text", "value", "shown"),
    [
        *((kinds.BOOLEAN, text, True, "true") for text in ("1", "t", "T", "TRUE", "true", "True")),
        *((kinds.BOOLEAN, text, False, "false") for text in ("0", "f", "F", "FALSE", "false", "False")),
        (kinds.TEXT, "a b", "a b", "a b"),
        (kinds.PREFIX, "ffp-2:x", "ffp-2:x", "ffp-2:x"),
        (kinds.SECRET, "s", Secret("s"), "***"),
        (kinds.KEYS, "abcdefghij, k2,,k2", (SdkKey("abcdefghij"), SdkKey("k2")), "abcd***#723993,***#015f7e"),
        (kinds.ON_OFF, "Off", False, "off"),
        (kinds.ON_OFF, "true", True, "on"),
        (kinds.PRESENCE, "no thanks", True, "true"),
        (kinds.HOST, "LocalHost", "localhost", "localhost"),
        (kinds.HOST, "[::1]", "::1", "::1"),
        (kinds.HOST, "0.0.0.0", "0.0.0.0", "0.0.0.0"),
        (kinds.HOST, "unix:/run/ff.sock", Path("/run/ff.sock"), "unix:/run/ff.sock"),
        (kinds.HOST, "unix:///run/ff.sock", Path("/run/ff.sock"), "unix:/run/ff.sock"),
        (kinds.BASE_PATH, "/", "", ""),
        (kinds.BASE_PATH, "/ff/proxy-1/", "/ff/proxy-1", "/ff/proxy-1"),
        (
            kinds.NETWORKS,
            "10.0.0.0/8, ::1 ,10.0.0.0/8",
            (ip_network("10.0.0.0/8"), ip_network("::1")),
            "10.0.0.0/8,::1/128",
        ),
        (kinds.LOG_FORMAT, "TEXT", kinds.LogFormat.TEXT, "text"),
        (kinds.ACCESS_LOG, "all", kinds.AccessLog.ALL, "all"),
        (kinds.IDENTIFIER, "acc-1_$", "acc-1_$", "acc-1_$"),
        (kinds.URL, "https://h:1/p/", "https://h:1/p", "https://h:1/p"),
        (kinds.URL, "http://[::1]:1", "http://[::1]:1", "http://[::1]:1"),
        (kinds.PATH, "/a/b", Path("/a/b"), "/a/b"),
        (kinds.size(), "0", 0, "0"),
        (kinds.size(), "1500", 1500, "1500"),
        (kinds.size(), "64MiB", 67108864, "64 MiB"),
        (kinds.size(), "2 kib", 2048, "2 KiB"),
        (kinds.size(), "1 GB", 1000000000, "1000000000"),
        (kinds.PORT, "65535", 65535, "65535"),
        (kinds.size(1024), "1 KiB", 1024, "1 KiB"),
        *((kinds.zero_for_none(kinds.seconds(1)), zero, None, "0") for zero in ("0", "0.0", "+0", "00")),
        (kinds.zero_for_none(kinds.seconds(1)), "1", 1.0, "1"),
        (kinds.whole_number(-5), "-5", -5, "-5"),
        (kinds.seconds(), "0", 0.0, "0"),
        (kinds.seconds(1), "1.5", 1.5, "1.5"),
        (kinds.ADMIN_ADDRESS, "off", None, "off"),
        (kinds.ADMIN_ADDRESS, "[::1]:1", HostPort("::1", 1), "[::1]:1"),
        (kinds.LOG_LEVEL, "Warn", kinds.LogLevel.WARNING, "WARNING"),
        (kinds.JSON_VALUES, "Escaped", kinds.JsonValues.ESCAPED, "escaped"),
    ],
)
def test_a_text_is_read_and_its_value_shown(
    kind: ValueType[Any], text: str, value: object, shown: str
) -> None:
    """What is shown holds no secret, and says the same."""
    assert kind.read(text) == value
    assert (kind.none if value is None else kind.show(value)) == shown


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((kinds.BOOLEAN, text) for text in ("yes", "on", "tRUE", "2", "TRue")),
        (kinds.TEXT, "<string>"),
        (kinds.PREFIX, "a{b}"),
        (kinds.PREFIX, "a b"),
        (kinds.SECRET, "<string>"),
        (kinds.KEYS, "a b"),
        (kinds.KEYS, "a,<key>"),
        (kinds.KEYS, ","),
        *(
            (kinds.IDENTIFIER, text)
            for text in ('"acc"', "acc'", "[acc]", "acc;", "{{acc}}", "\u201cacc\u201d")
        ),
        *((kinds.KEYS, text) for text in ('"a","b"', "[a,b]", "a;b", "a,b;", "(a)", "a,'b'")),
        (kinds.TOKEN, '"pat.a.b.c"'),
        *((kinds.ON_OFF, text) for text in ("yes", "maybe")),
        *((kinds.HOST, text) for text in ("proxy.example", "10.0.0.1:7000", "unix:", "unix:rel", "unix:/d/")),
        *((kinds.BASE_PATH, text) for text in ("ff", "/a//b", "/a?b", "/../x", "/a b", "/%41")),
        *((kinds.NETWORKS, text) for text in (",", "10.0.0.0/33", "proxy.example")),
        *((kind, '"a"') for kind in (kinds.TEXT, kinds.PATH, kinds.size(), kinds.PORT, kinds.URL)),
        *((kinds.URL, text) for text in ("h", "ftp://h", "http://", "http://h:x", "http://[", "http://h:0")),
        *((kinds.URL, text) for text in ("http://h?x", "http://h/#x", "http://u:p@h", "http://a b")),
        *(
            (kinds.size(), text)
            for text in ("-1", "1.5", "MiB", "1 TiB", "", "\u0663", "9" * 30, "9" * 5000, "9999999999 GiB")
        ),
        (kinds.size(1024), "1023"),
        *((kinds.zero_for_none(kinds.seconds(1)), text) for text in ("0.5", "1e-9", "-1", "x", "0s")),
        (kinds.zero_for_none(kinds.whole_number(1)), "-1"),
        *(
            (kinds.PORT, text)
            for text in ("-1", "65536", "7000.0", "x", "1e3", "7_000", "\u0667", "9" * 5000)
        ),
        *(
            (kinds.seconds(1), text)
            for text in (
                "0.9",
                "-1",
                "nan",
                "inf",
                "60s",
                "1m",
                "1e10",
                "1e999",
                "1_0",
                "\u0661\u0662",
                "1e",
                ".",
            )
        ),
        *((kinds.ADMIN_ADDRESS, text) for text in ("OFF", "127.0.0.1", "x:y")),
        (kinds.LOG_LEVEL, "TRACE"),
        (kinds.JSON_VALUES, "raw"),
    ],
)
def test_the_rest_is_refused_in_words(kind: ValueType[Any], text: str) -> None:
    """The words fit behind the option's name."""
    with pytest.raises(ValueError, match=r"^must "):
        kind.read(text)


@pytest.mark.parametrize("kind", [kinds.SECRET, kinds.TOKEN, kinds.KEYS, kinds.URL, kinds.REDIS_ADDRESS])
def test_what_may_hold_a_secret_may_not_be_quoted(kind: ValueType[Any]) -> None:
    """So that no message repeats it."""
    assert kind.secret or not kind.quotable
