"""Whatever is said, it ends in settings and problems in words, and no secret is among the words."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ff_proxy.config import records
from ff_proxy.config.declare import Option
from ff_proxy.config.load import load
from ff_proxy.config.settings import read_settings
from ff_proxy.errors import ConfigError
from tests.support.config_ways import ONLINE, as_environment

FLAGS = [f"{dash}{name}" for option in records.ALL for name in option.names for dash in ("-", "--")]
# Of a Redis address only credentials are secret.
SECRETS = [option for option in records.ALL if option.env_file and option.flag != "redis-address"]

texts = st.text(max_size=12) | st.sampled_from(
    ["1", "0", "true", "a:1", "redis://u:p@h/1", "http://h", ",", "<x>"]
)
words = st.sampled_from(FLAGS) | st.builds("{}={}".format, st.sampled_from(FLAGS), texts) | texts
environments = st.dictionaries(st.sampled_from([option.env for option in records.ALL]), texts, max_size=6)


@settings(deadline=None)
@given(st.lists(words, max_size=8), environments, st.binary(max_size=80))
def test_nothing_but_a_config_error_comes_of_nonsense(
    argv: list[str], environ: dict[str, str], content: bytes
) -> None:
    """Every file that is asked for holds the same odd bytes."""
    try:
        load(argv, environ, lambda _: content)
    except ConfigError as error:
        assert error.problems  # noqa: PT017  (either way is fine; what must not be is another exception)


@settings(deadline=None)
@given(st.text("abcxyz <>@:/?#,=%\n\x00\u00e9", max_size=6), st.sampled_from(SECRETS))
def test_no_problem_repeats_a_secret(noise: str, option: Option[object]) -> None:
    """However broken it is, and whichever source holds it."""
    secret = f"{noise}hunter2{noise}"
    env_file = f"{option.env}={secret}"
    toml = f"{option.flag} = {secret}"
    for found in (
        read_settings([f"-{option.flag}={secret}"], {}),
        read_settings([f"-{option.flag}", secret, secret], {}),
        read_settings([], {option.env: secret, "REDIS_ADDRESS": f"redis://u:{secret}@h:port"}),
        read_settings(["-env-file=e"], {}, lambda _: env_file.encode()),
        read_settings(["-config=c"], {}, lambda _: toml.encode()),
    ):
        assert "hunter2" not in str(found.problems)
        assert "hunter2" not in "".join(setting.masked for setting in found)


@pytest.mark.parametrize("text", ["a\nb", "a\x00b", "a\udc80"])
def test_a_value_is_printable(text: str) -> None:
    """A line break in a token would end a header, half a character could not be sent at all."""
    (problem,) = read_settings([], {"ORG_IDENTIFIER": text}).problems
    assert problem.startswith("org-identifier: must consist of printable characters")


def test_an_option_with_a_problem_has_its_default_and_still_counts_as_given() -> None:
    """So that checks over several options go on without being led astray."""
    settings = read_settings(["-port=x"], {})
    assert settings["port"] == 7000
    assert settings.given("port")
    assert not settings.given("workers")
    assert not settings.nothing_given


def test_files_are_read_only_if_named() -> None:
    """A ``.env`` that happens to lie in the working directory is somebody else's."""

    def read(path: Path) -> bytes:
        raise AssertionError(path)

    assert read_settings([], {}, read).nothing_given


def test_the_environment_and_a_file_may_name_files() -> None:
    """``ENV_FILE`` and ``CONFIG_FILE`` are the variables; the last of two flags counts."""
    files = {"a": b"PORT=1", "b": b"workers = 2"}
    settings = read_settings(
        ["-env-file=x", "-env-file=a"], {"CONFIG_FILE": "b", "ENV_FILE": "y"}, lambda p: files[str(p)]
    )
    assert (settings["port"], settings["workers"]) == (1, 2)


def test_no_secret_is_printed() -> None:
    """Neither the record nor the report, printed whole, holds a secret."""
    loaded = as_environment(
        {
            **ONLINE,
            "auth-secret": "hunter2-a",
            "admin-service-token": "hunter2-b",
            "admin-token": "hunter2-c",
            "api-keys": "0123hunter2,hunter2",
            "redis-address": "redis://u:hunter2-d@h:1",
            "redis-password": "hunter2-e",
        }
    ).load()
    masked = [f"{setting.option.flag}={setting.masked}" for setting in loaded.report]
    assert "hunter2" not in str(masked)
    assert "redis-address=redis://u:***@h:1" in masked
    assert "hunter2" not in repr(loaded)
