"""The command line is read as Go's flag package does, with better words for mistakes."""

from collections.abc import Sequence

import pytest

from ff_proxy.config import records
from ff_proxy.config.flags import CommandLine, parse_flags


def parse(*argv: str, words: int = 0) -> CommandLine:
    """A command line of the proxy's own options."""
    return parse_flags(argv, records.ALL, words=words)


def values(line: CommandLine) -> list[tuple[str, str]]:
    """Flag and text of everything given."""
    return [(given.option.flag, given.text) for given in line.reading.given]


@pytest.mark.parametrize(
    "argv", [["-port", "1"], ["-port=1"], ["--port", "1"], ["--port=1"], ["-port", " 1 "], ["--port= 1"]]
)
def test_a_value_follows_or_is_attached(argv: Sequence[str]) -> None:
    """One dash or two, a space or an equals sign."""
    line = parse(*argv)
    assert values(line) == [("port", "1")]
    assert line.problems == []


@pytest.mark.parametrize(
    "word", ["true", "false", "1", "0", "t", "f", "T", "F", "TRUE", "FALSE", "True", "False"]
)
def test_a_boolean_takes_its_value_attached(word: str) -> None:
    """Every word that Go knows gets through to the option's type."""
    line = parse(f"-offline={word}", "--debug")
    assert values(line) == [("offline", word), ("debug", "true")]
    assert line.problems == []


def test_a_word_after_a_boolean_is_named() -> None:
    """Go would stop reading there without a word; what follows is read here all the same."""
    line = parse("-offline", "false", "-port", "1")
    assert line.problems == ["offline: the word 'false' after it is not its value; write -offline=false"]
    assert ("port", "1") in values(line)


@pytest.mark.parametrize(
    ("flag", "hint"),
    [
        ("-prot", "-prot: no such flag; did you mean -port?"),
        ("--api_keys", "-api_keys: no such flag; did you mean -api-keys?"),
        ("-READ_REPLICA", "-READ_REPLICA: no such flag; did you mean -read-replica?"),
        ("-qqqq", "-qqqq: no such flag"),
    ],
)
def test_an_unknown_flag_is_met_with_the_nearest_one(flag: str, hint: str) -> None:
    """Its value, attached or not, is part of the one mistake, and is not repeated."""
    assert parse(flag, "hunter2").problems == [hint]
    assert parse(f"{flag}=hunter2").problems == [hint]


def test_the_go_proxys_name_of_read_replica_is_known() -> None:
    """Version 2 of the Go proxy spells this one flag in camel case."""
    assert values(parse("-readReplica")) == [("read-replica", "true")]


def test_an_empty_shell_variable_does_not_swallow_the_next_flag() -> None:
    """``-auth-secret $UNSET -port 1``: the mistake is named and the port is still the port."""
    line = parse("-auth-secret", "-port", "1", "-api-keys", "-org-identifier=o", "-workers")
    assert line.problems == [
        "auth-secret: a value must follow -auth-secret, not -port",
        "api-keys: a value must follow -api-keys, not -org-identifier",
        "workers: a value must follow -workers",
    ]
    assert values(line) == [("port", "1"), ("org-identifier", "o")]


def test_a_value_may_begin_with_a_dash() -> None:
    """A password is whatever it is, so long as it is no flag of ours."""
    assert values(parse("-redis-password", "-x-", "-auth-secret=-port")) == [
        ("redis-password", "-x-"),
        ("auth-secret", "-port"),
    ]


def test_half_a_secret_is_not_repeated() -> None:
    """A value with a space and no quotes leaves its second half behind."""
    line = parse("-api-keys", "one,", "hunter2", "hunter3")
    assert len(line.problems) == 2
    assert "hunter" not in str(line.problems)
    assert "hunter" not in repr(line.reading.given)


def test_an_equals_sign_belongs_to_the_value_and_empty_is_unset() -> None:
    """Only the first equals sign separates."""
    assert values(parse("-auth-secret=a=b=", "-port=", "-workers", "")) == [("auth-secret", "a=b=")]


@pytest.mark.parametrize("argument", ["-", "---port", "-=1", "stray", "--=x", ""])
def test_what_is_no_flag_is_a_word_too_many(argument: str) -> None:
    """Also such things as a lone dash."""
    (problem,) = parse(argument).problems
    assert problem == f"{argument!r}: unexpected word; flags begin with -"


def test_a_command_may_take_words() -> None:
    """They stand anywhere, two dashes end the flags, and one too many is a problem."""
    line = parse("a", "-port", "1", "--", "-b", words=2)
    assert line.words == ["a", "-b"]
    assert line.problems == []
    assert parse("a", "b", words=1).problems == ["'b': unexpected word; flags begin with -"]


@pytest.mark.parametrize("flag", ["-h", "--help", "-help"])
def test_help_is_asked_for(flag: str) -> None:
    """In Go's three ways."""
    assert parse("-port", "1", flag).wants_help
    assert not parse("-port", "1").wants_help
