"""Every ``docker run`` line of the deployment page starts the proxy in the mode that the page says.

Docker hands what stands behind the image's name to the entry point, and passes the lines of ``--env-file``
as they are, with the spaces behind them.
"""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest

from ff_proxy.config import records
from ff_proxy.config.load import load
from ff_proxy.config.settings import read_settings
from ff_proxy.errors import ConfigError
from tests.support.config_ways import reader

PAGE = Path(__file__).parents[3].parent / "shared/spec/seed-deploy-relay-proxy.md"

SHELL: Mapping[str, str] = {
    "MY_SERVICE_TOKEN": "pat.acc.token",
    "MY_ACCOUNT_IDENTIFIER": "acc",
    "MY_ORG_IDENTIFIER": "org",
    "ENV_1_KEY": "k1",
    "ENV_2_KEY": "k2",
    "ENV_3_KEY": "k3",
    "ANY_AUTH_SECRET": "s3cret",
    "REDIS_ADDRESS": "redis.example:6379",
}
FILLED_IN: Mapping[str, str] = {
    "ACCOUNT_IDENTIFIER": "acc",
    "ORG_IDENTIFIER": "org",
    "ADMIN_SERVICE_TOKEN": "pat.acc.token",
    "AUTH_SECRET": "s3cret",
    "REDIS_ADDRESS": "redis.example:6379",
}


@pytest.fixture(scope="module")
def page() -> str:
    """The page itself, which is not part of this project."""
    if not PAGE.is_file():
        pytest.skip("the deployment page is not beside this checkout")
    return PAGE.read_text(encoding="utf-8")


def flags_of(page: str) -> list[list[str]]:
    """What each ``docker run`` line of our image passes to the proxy, its shell variables filled in."""
    lines = re.findall(r"docker run (?:.* )?(?:harness/)?ff-proxy(?::latest)?(?: .*)?`?$", page, re.MULTILINE)
    commands = []
    for line in lines:
        words = shlex.split(re.sub(r"\$(\w+)", lambda match: SHELL[match[1]], line).rstrip(" `"))
        image = next(
            n for n, word in enumerate(words) if re.fullmatch(r"(harness/)?ff-proxy(:latest)?", word)
        )
        commands.append(words[image + 1 :])
    return commands


def env_file_of(page: str) -> str:
    """The ``.env`` example, without the list's indentation."""
    block = re.search(r"```\n(\s*// Create a \.env.*?)```", page, re.DOTALL)
    assert block is not None
    return re.sub(r"(?m)^[ \t]+", "", block[1])


def filled_in(env_file: str) -> str:
    """The example with its ``<placeholders>`` replaced; the spaces behind stay."""
    return re.sub(r"(?m)^(\w+)=<[^>]*>", lambda match: f"{match[1]}={FILLED_IN[match[1]]}", env_file)


def docker_env_file(text: str) -> dict[str, str]:
    """The environment that Docker makes of such a file: nothing is trimmed or unquoted."""
    pairs = [line.partition("=") for line in text.splitlines() if line and not line.startswith("//")]
    return {name: value for name, _, value in pairs}


def test_the_page_has_the_lines_that_are_tested_here(page: str) -> None:
    """Bare, three with flags online or with Redis, and one each to generate and to be offline."""
    with_flags = [flags for flags in flags_of(page) if flags]
    assert len(with_flags) == 4
    assert len(flags_of(page)) == 9


def test_every_line_with_flags_runs_the_mode_it_shows(page: str) -> None:
    """Keys keep the page's ellipsis, which is no concern of a parser."""
    for flags in filter(None, flags_of(page)):
        chosen = load(flags, {})
        # The page's secret is a placeholder, which anybody can guess.
        odd = [text for text in chosen.warnings if not text.startswith("auth-secret can be guessed")]
        assert odd == [] or "-offline" in flags
        match chosen.options:
            case records.OfflineOptions():
                assert "-offline" in flags
            case records.GenerateOptions(upstream=upstream):
                assert "-generate-offline-config" in flags
                assert [key.reveal() for key in upstream.api_keys] == ["k1", "k2", "k3..."]
            case records.OnlineOptions(upstream=upstream, store=store):
                assert "-offline" not in flags
                assert upstream.account == "acc"
                assert isinstance(store, records.RedisStoreOptions) == ("-redis-address" in flags)
            case records.ReplicaOptions():
                pytest.fail("the page knows no replicas")


@pytest.mark.parametrize(
    ("extra", "mode"),
    [
        ("", records.OnlineOptions),
        ("GENERATE_OFFLINE_CONFIG=true   \n", records.GenerateOptions),
        ("OFFLINE=true   \n", records.OfflineOptions),
    ],
)
def test_the_env_file_runs_through_docker_and_by_itself(page: str, extra: str, mode: type[object]) -> None:
    """Once as Docker passes it, once read by the proxy with ``-env-file``."""
    text = filled_in(env_file_of(page)) + extra
    by_docker = load([], docker_env_file(text)).options
    by_itself = load(["-env-file", ".env"], {}, reader({".env": text})).options
    assert by_docker == by_itself
    assert isinstance(by_docker, mode)


def test_the_env_file_with_its_placeholders_left_in_names_each(page: str) -> None:
    """Somebody will forget one; the words say which."""
    with pytest.raises(ConfigError) as caught:
        load([], docker_env_file(env_file_of(page)))
    assert {problem.split(":")[0] for problem in caught.value.problems} == {
        "account-identifier",
        "org-identifier",
        "admin-service-token",
        "auth-secret",
        "redis-address",
    }


def test_the_bare_image_has_nothing_given(page: str) -> None:
    """``docker run harness/ff-proxy``: the command line then lists every option."""
    assert [] in flags_of(page)
    assert read_settings([], {"PATH": "/bin", "HOSTNAME": "c0ffee"}).nothing_given


def test_every_variable_that_the_page_lists_is_an_option(page: str) -> None:
    """With the default that the page gives, where it gives one that still holds."""
    listed = re.findall(r"```\n ?([a-z-]+)(?: \w+)?\n```\n(.*)", page)
    declared = {option.flag: option for option in records.ALL}
    assert len(listed) == 18
    for flag, meaning in listed:
        default = re.search(r"default (?:is )?`?([^\s`)]+)", meaning)
        if default is not None and flag != "admin-service":
            assert declared[flag].shown_default == default[1], flag
        else:
            assert flag in declared
