"""A value is the same whichever source gives it: generated values of every option, through all of them."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ff_proxy.config import records
from ff_proxy.config.declare import Option
from ff_proxy.config.settings import Settings, read_settings
from tests.support.config_ways import reader

PLAIN = st.text("abcXYZ019_-.", min_size=1, max_size=12)
WORDS = st.text("abc XYZ019_-./:=+@%#$'\u00e9\u6f22", min_size=1, max_size=12).map(str.strip).filter(bool)
NUMBERS = st.integers(1, 1000).map(str)
HOSTS = st.builds("{}.example".format, st.text("abc019", min_size=1, max_size=5))
URLS = st.builds("https://{}:{}/{}".format, HOSTS, st.integers(1, 65535), st.text("abc/", max_size=5))
ORIGINS = st.sampled_from(["*", "null", "https://*.A.example", "HTTP://a.example:80", "app://x:1"])
LISTS = st.lists(PLAIN, min_size=1, max_size=3).map(", ".join)
BY_TYPE: Mapping[str, st.SearchStrategy[str]] = {
    "bool": st.sampled_from(
        [*("1", "t", "T", "TRUE", "true", "True"), *("0", "f", "F", "FALSE", "false", "False")]
    ),
    "any text": PLAIN,
    "on|off": st.sampled_from(["on", "OFF", "true", "0"]),
    "string": PLAIN,
    "secret": WORDS.filter(lambda text: not text.startswith("<")),
    "keys": LISTS,
    "list": st.lists(st.sampled_from(["10.0.0.0/8", "::1", "192.0.2.1"]), min_size=1).map(",".join),
    "URL": URLS,
    "path": st.builds("/{}".format, st.text("abc019_", min_size=1, max_size=8)),
    "size": st.builds("{} {}".format, NUMBERS, st.sampled_from(["KiB", "mib", "GB"])) | st.just("4096"),
    "int": NUMBERS,
    "seconds": NUMBERS | st.floats(1, 1e6).map(str),
    "address": HOSTS,
    "host:port": st.builds("{}:{}".format, HOSTS, st.integers(0, 65535)) | st.just("off"),
}
BY_FLAG: Mapping[str, st.SearchStrategy[str]] = {
    "environment-log-level": st.just("e1=DEBUG, e2=error"),
    "admin-service-token": PLAIN,
    "host": st.sampled_from(["127.0.0.1", "::", "localhost", "unix:/run/x"]),
    "cors-allowed-origins": st.lists(ORIGINS, min_size=1).map(",".join),
}
OPTIONS = [option for option in records.ALL if option.in_files]


def texts(option: Option[Any]) -> st.SearchStrategy[str]:
    """Texts that the option takes."""
    if option.flag in BY_FLAG:
        return BY_FLAG[option.flag]
    if option.kind.name in BY_TYPE:
        return BY_TYPE[option.kind.name]
    return st.sampled_from(option.kind.name.split("|")).map(str.upper)


def quoted(text: str) -> str:
    """As a value of a ``.env`` file, which single quotes keep as it is."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def said_everywhere(option: Option[Any], text: str) -> Mapping[str, Settings]:
    """The settings that each source makes of the same text."""
    env, flag = option.env, option.flag
    ways = {
        "flag": read_settings([f"-{flag}={text}"], {}),
        "flag, two dashes": read_settings([f"--{flag}= {text} "], {}),
        "environment": read_settings([], {env: f"{text}  "}),
        ".env": read_settings(["-env-file=e"], {}, reader({"e": f"{env}={quoted(text)}  \n"})),
        "TOML": read_settings(["-config=c"], {}, reader({"c": f"{flag} = {json.dumps(text)}"})),
    }
    if not option.kind.standalone:
        ways["flag, two words"] = read_settings([f"-{flag}", text], {})
    if option.env_file:
        secret = {"/run/secret": f"{text}\n"}
        ways["secret file"] = read_settings([], {option.env_file: "/run/secret"}, reader(secret))
        ways["secret file, named in .env"] = read_settings(
            ["-env-file=e"], {}, reader({**secret, "e": f"{option.env_file}=/run/secret\n"})
        )
    return ways


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.flag)
def test_every_source_gives_the_same_value(option: Option[Any]) -> None:
    """Also as the default's own text, so that the page can be copied from."""

    @settings(max_examples=12, deadline=None, database=None)
    @given(texts(option))
    def check(text: str) -> None:
        values = {}
        for way, found in said_everywhere(option, text).items():
            assert found.problems == (), (way, text)
            assert found.given(option.flag), (way, text)
            values[way] = found[option.flag]
        assert len(set(values.values())) == 1, (text, values)
        assert option.show(values["flag"]) == option.show(values["TOML"])

    check()
    if option.shown_default and not option.kind.secret:
        assert read_settings([f"-{option.flag}={option.shown_default}"], {})[option.flag] == option.default
