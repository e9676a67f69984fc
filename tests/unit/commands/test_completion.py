"""What shells complete is what the commands declare."""

import io
import re
import shlex
import shutil
import subprocess

import pytest

from ff_proxy.commands import completion
from ff_proxy.commands.registry import COMMANDS
from ff_proxy.config.records import ALL
from ff_proxy.errors import ConfigError


def script(shell: str) -> str:
    """What the command writes for a shell."""
    out = io.StringIO()
    assert completion.run([shell], {}, out) == 0
    return out.getvalue()


def completed(*words: str) -> list[str]:
    """What bash offers behind ``words``, the last of which is being written."""
    listed = " ".join(map(shlex.quote, words))
    asked = (
        f"{script('bash')}\nCOMP_WORDS=({listed}); COMP_CWORD={len(words) - 1}; _ff_proxy; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-uc", asked], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["ff-proxy", "d"], ["doctor", "demo"]),
        (["ff-proxy", ""], [*(name for name in COMMANDS if " " not in name), "help"]),
        (["ff-proxy", "-redis-p"], ["-redis-password", "-redis-prefix", "-redis-pool-size"]),
        (["ff-proxy", "doctor", "-str"], ["-stream-seconds"]),
        (["ff-proxy", "doctor", "-tls-e"], ["-tls-enabled"]),
        (["ff-proxy", "-log-level", "W"], ["WARNING"]),
        (["ff-proxy", "-log-level", "=", "W"], ["WARNING"]),
        (["ff-proxy", "--log-level", "=", "W"], ["WARNING"]),
        (["ff-proxy", "-port", ""], []),
        (["ff-proxy", "sandbox", "f"], ["flip"]),
        (["ff-proxy", "sandbox", "flip", "-o"], ["-on", "-off"]),
        (["ff-proxy", "sandbox", "flip", "dark_mode", "-s"], ["-serve"]),
        (["ff-proxy", "sandbox", "-port", "7000", "-c"], ["-config-dir"]),
        (["ff-proxy", "completion", "f"], ["fish"]),
        (["ff-proxy", "help", "v"], ["validate", "version"]),
    ],
)
def test_bash(words: list[str], offered: list[str]) -> None:
    """Commands, flags of commands and of the proxy, and values that are few."""
    assert completed(*words) == offered


def test_bash_offers_files_where_a_path_belongs() -> None:
    """Behind an option that takes one, and behind validate."""
    assert "pyproject.toml" in completed("ff-proxy", "-env-file", "pyp")
    assert "pyproject.toml" in completed("ff-proxy", "validate", "pyp")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_and_flag_is_in_every_script(shell: str) -> None:
    """Nothing is written by hand."""
    text = script(shell)
    for command in COMMANDS.values():
        for option in command.own_options():
            assert f"-o {option.flag} " in text if shell == "fish" else f"-{option.flag}" in text
    for option in ALL:
        assert f"-o {option.flag} " in text if shell == "fish" else f"-{option.flag}" in text
    for name in COMMANDS:
        assert name.split()[-1] in text


@pytest.mark.parametrize("shell", [shell for shell in ("bash", "zsh", "fish") if shutil.which(shell)])
def test_the_shell_itself_takes_the_script(shell: str) -> None:
    """Those that are installed here."""
    subprocess.run([shell, "-n"], input=script(shell), text=True, timeout=20, check=True)


def test_quotes_pair() -> None:
    """In the languages of the shells that may not be installed here."""
    assert shlex.split(script("zsh"), comments=True)
    quoted = r"'(?:[^'\\]|\\.)*'"
    for line in script("fish").splitlines()[1:]:
        assert "'" not in re.sub(quoted, "", line), line


def test_a_shell_that_is_not_known() -> None:
    """Exit 2, with those that are."""
    for words in ([], ["tcsh"]):
        with pytest.raises(ConfigError, match="ff-proxy completion bash, zsh or fish"):
            completion.run(words, {}, io.StringIO())
