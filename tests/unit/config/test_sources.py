"""Files of values: what python-dotenv and TOML allow, and where a mistake stands."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ff_proxy.config import records
from ff_proxy.config.given import Reading
from ff_proxy.config.sources import from_env_file, from_toml_file
from tests.support.config_ways import reader


def env_file(text: str | bytes, **environ: str) -> Reading:
    """Read a ``.env`` file."""
    content = text if isinstance(text, bytes) else text.encode()
    return from_env_file(Path("e/.env"), lambda _: content, environ, records.ALL)


def toml_file(text: str | bytes) -> Reading:
    """Read a TOML file."""
    content = text if isinstance(text, bytes) else text.encode()
    return from_toml_file(Path("e/ff.toml"), lambda _: content, records.ALL)


def values(reading: Reading) -> dict[str, str]:
    """Text by flag."""
    return {given.option.flag: given.text for given in reading.given}


def test_an_env_file_as_the_documentation_shows_it() -> None:
    """The ``//`` comment line and the spaces behind every value are the page's own."""
    reading = env_file(
        "// Create a .env file with these envs   \nDEBUG=false   \nOFFLINE=true   \n  // more\nPORT=7000   \n"
    )
    assert values(reading) == {"debug": "false", "offline": "true", "port": "7000"}
    assert [given.place for given in reading.given] == ["e/.env line 2", "e/.env line 3", "e/.env line 5"]
    assert reading.problems == []


def test_an_env_file_in_python_dotenvs_format() -> None:
    """Comments, export, quotes, values across lines, and variables from further up or outside."""
    reading = env_file(
        "\ufeff# comment\r\n"
        "export PORT=1 # one\r\n"
        "AUTH_SECRET='a # b'\r\n"
        'ORG_IDENTIFIER="o\\"x"\n'
        "REDIS_HOST=redis\n"
        "REDIS_ADDRESS=${REDIS_HOST}:${REDIS_PORT:-1}\n"
        "CONFIG_DIR=${ELSEWHERE}/x\n"
        "DEBUG\n"
        "WORKERS=\n"
        "ADMIN_SERVICE=https://h/a//b\n",
        ELSEWHERE="/out",
    )
    assert values(reading) == {
        "port": "1",
        "auth-secret": "a # b",
        "org-identifier": 'o"x',
        "redis-address": "redis:1",
        "config-dir": "/out/x",
        "admin-service": "https://h/a//b",
    }
    assert reading.problems == []


def test_an_env_file_names_the_lines_that_it_cannot_read() -> None:
    """Each, and the others count."""
    reading = env_file('PORT=1\n\n\n=hunter2\n\nAUTH_SECRET="hunter2\nWORKERS=2\n')
    assert reading.problems == [
        "e/.env line 4: cannot be read: must be NAME=value, or a comment with # or //",
        "e/.env line 6: cannot be read: must be NAME=value, or a comment with # or //",
    ]
    assert values(reading) == {"port": "1", "workers": "2"}


def test_a_toml_file_with_its_own_types() -> None:
    """Numbers, booleans, lists and texts; ``_`` for ``-``; other spellings of a flag."""
    reading = toml_file(
        "port = 1\nshutdown_delay = 0.5\n'readReplica' = true\napi-keys = ['a', 'b']\n"
        "auth_secret = ' s '\norg_identifier=''"
    )
    assert values(reading) == {
        "port": "1",
        "shutdown-delay": "0.5",
        "read-replica": "true",
        "api-keys": "a,b",
        "auth-secret": "s",
    }
    assert [given.place for given in reading.given] == [f"e/ff.toml line {n}" for n in range(1, 6)]
    assert reading.problems == []


def test_a_toml_file_names_its_problems_with_their_lines() -> None:
    """Unknown, twice, of a wrong type, not for files."""
    reading = toml_file(
        "\nprot = 1\nread-replica = true\nread_replica = true\nconfig = 'x'\nenv-file = 'x'\n"
        "port = 2026-01-01\n[workers]\nn = 1\n"
    )
    assert reading.problems == [
        "prot: no such option; did you mean port? (e/ff.toml line 2)",
        "read-replica: is set twice, also as read-replica (e/ff.toml line 4)",
        "config: cannot be set in a file (e/ff.toml line 5)",
        "env-file: cannot be set in a file (e/ff.toml line 6)",
        "port: must be a text, a number, a boolean or a list of texts (e/ff.toml line 7)",
        "workers: must be a text, a number, a boolean or a list of texts (e/ff.toml line 8)",
    ]


def test_an_env_file_cannot_name_another() -> None:
    """Otherwise it would depend on the order of reading."""
    assert env_file("ENV_FILE=x\n").problems == ["env-file: cannot be set in a file (e/.env line 1)"]


def test_broken_toml_is_named_with_line_and_column_and_without_its_values() -> None:
    """One problem for the file, since nothing after it can be read."""
    assert toml_file("port = 1\nauth-secret = hunter2\n").problems == [
        "e/ff.toml line 2 column 15: is not TOML: Invalid value"
    ]
    assert "hunter2" not in str(toml_file("auth-secret = 'hunter2\n").problems)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("[" * 5000, "e/ff.toml: cannot be read: it is nested too deeply"),
        ("{a=" * 5000, "e/ff.toml: cannot be read: it is nested too deeply"),
        ("9" * 5000, "e/ff.toml line 2: cannot be read: a number has thousands of digits"),
        ("1" + "_000" * 5000, "e/ff.toml line 2: cannot be read: a number has thousands of digits"),
        ("0x" + "f" * 5000, "workers: a number has thousands of digits (e/ff.toml line 2)"),
    ],
)
def test_toml_that_python_cannot_convert_is_a_problem(value: str, problem: str) -> None:
    """The parser lets two kinds of errors through that are not about TOML."""
    assert toml_file(f"port = 1\nworkers = {value}\n").problems == [problem]


@pytest.mark.parametrize("read", [env_file, toml_file])
def test_a_file_of_other_bytes_is_a_problem(read: Callable[[bytes], Reading]) -> None:
    """Neither format knows another encoding than UTF-8."""
    (problem,) = read(b"PORT=\xff").problems
    assert problem.endswith("cannot be read: must be UTF-8, and byte 5 is not")


def test_a_missing_file_is_a_problem() -> None:
    """Whoever names a file means it."""
    assert from_env_file(Path(".env"), reader({}), {}, records.ALL).problems == [
        ".env: cannot be read: No such file or directory"
    ]
    assert from_toml_file(Path("ff.toml"), reader({}), records.ALL).problems == [
        "ff.toml: cannot be read: No such file or directory"
    ]
