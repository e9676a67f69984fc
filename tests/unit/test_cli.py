"""The command line ends in an exit code, and says on the right stream what to do."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ff_proxy import __version__, cli
from ff_proxy.app import run, supervisor
from ff_proxy.commands.registry import COMMANDS
from ff_proxy.config import records
from ff_proxy.config.load import Loaded
from ff_proxy.errors import ExitCode, StartupError
from tests.support.garbage import set_aside
from tests.support.ports import free_port


@pytest.fixture(autouse=True, scope="module")
def _visited() -> Iterator[None]:
    """What a command puts aside as it ends is collected as ever in later tests: this process goes on."""
    yield
    set_aside()


def test_with_nothing_configured_it_lists_everything_and_what_is_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The list on standard output, then one line, exit 2 (spec/behaviour#modes)."""
    assert cli.main([], {"PATH": "/bin"}) == ExitCode.BAD_CONFIGURATION
    out, err = capsys.readouterr()
    assert all(f"-{option.flag}" in out and option.env in out for option in records.ALL)
    assert err == (
        "ff-proxy: required and missing: account-identifier, org-identifier, admin-service-token, api-keys\n"
    )


def test_with_something_configured_it_names_the_problems_only(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each, exit 2, nothing on standard output."""
    assert cli.main(["-port=x"], {"ORG_IDENTIFIER": "o"}) == ExitCode.BAD_CONFIGURATION
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(":")[0].strip() for line in err.splitlines()] == [
        "ff-proxy",
        "port",
        "account-identifier",
        "admin-service-token",
        "api-keys",
    ]


@pytest.mark.parametrize("argv", [["-h"], ["--help"], ["help"], ["-port", "1", "-help"], ["help", "help"]])
def test_help_is_no_error(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Commands and options on standard output, exit 0."""
    assert cli.main(argv, {}) == ExitCode.OK
    out, err = capsys.readouterr()
    assert all(f"ff-proxy {name}" in out for name in COMMANDS)
    assert "-api-keys" in out
    assert err == ""


@pytest.mark.parametrize("argv", [["version"], ["-version"], ["--version"]])
def test_version_is_one_line(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever people are used to type."""
    assert cli.main(argv, {}) == ExitCode.OK
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"ff-proxy {__version__} ")


def test_a_command_without_options_takes_none(capsys: pytest.CaptureFixture[str]) -> None:
    """Rather than ignore what somebody means."""
    assert cli.main(["version", "-port=1"], {}) == ExitCode.BAD_CONFIGURATION
    assert "-port: no such flag" in capsys.readouterr().err


def test_an_unknown_command_is_met_with_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    """As unknown flags are."""
    assert cli.main(["helth"], {}) == ExitCode.BAD_CONFIGURATION
    assert "'helth': no such command; did you mean health?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "runner", "record"),
    [
        (["-offline"], (run, "run_single"), records.OfflineOptions),
        (["-readReplica", "-redis-address=r:1"], (run, "run_single"), records.ReplicaOptions),
        (["-offline", "-workers=2"], (supervisor, "supervise"), records.OfflineOptions),
    ],
)
def test_without_a_command_the_proxy_runs(
    argv: list[str],
    runner: tuple[ModuleType, str],
    record: type[object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Alone, or as the supervisor of several processes; its exit code is the process's."""
    ran: list[object] = []

    def fake(loaded: Loaded) -> ExitCode:
        ran.append(type(loaded.options))
        return ExitCode.CANNOT_START

    monkeypatch.setattr(*runner, fake)
    assert cli.main(argv, {}) == ExitCode.CANNOT_START
    assert ran == [record]


def test_an_error_of_the_proxy_ends_in_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its text is on standard error, without a traceback."""

    def fail(_: Loaded) -> ExitCode:
        raise StartupError("port 7000 is in use; choose another with -port")

    monkeypatch.setattr(run, "run_single", fail)
    assert cli.main(["-offline"], {}) == ExitCode.CANNOT_START
    assert capsys.readouterr().err == "ff-proxy: port 7000 is in use; choose another with -port\n"


def test_it_runs_as_a_module() -> None:
    """``python -m ff_proxy`` takes arguments and environment from the process."""
    done = subprocess.run(
        [sys.executable, "-m", "ff_proxy", "-port=x"],
        env={"OFFLINE": "true"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == ExitCode.BAD_CONFIGURATION
    assert done.stderr == "ff-proxy: port: must be a whole number from 0 to 65535, not 'x' (flag -port)\n"


@pytest.mark.parametrize("name", [*COMMANDS, "sandbox flip"])
def test_every_command_can_be_asked_for_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With its own flag or by the help command, which answer the same."""
    assert cli.main([*name.split(), "-h"], {}) == ExitCode.OK
    own = capsys.readouterr().out
    assert cli.main(["help", *name.split()], {}) == ExitCode.OK
    assert own.startswith("ff-proxy" if name == "help" else f"ff-proxy {name}")
    assert capsys.readouterr().out == own


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_how_a_command_is_called_and_how_it_ends(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With every option of its own, and the exit codes."""
    assert cli.main(["help", *name.split()], {}) == ExitCode.OK
    text = capsys.readouterr().out
    command = COMMANDS[name]
    assert text.splitlines()[0].startswith(f"ff-proxy {name} {command.words}".strip())
    assert all(f"  -{option.flag}" in text for option in command.own_options())
    assert "xit code" in text or name == "completion"


@pytest.mark.parametrize(
    "argv",
    [
        ["version", "-json"],
        ["print-config", "-offline", "-json"],
        ["print-config", "-port=x", "-json"],
        ["validate", "-json", str(Path(__file__).parent)],
    ],
)
def test_programs_read_json(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """One document on standard output, whatever the outcome."""
    cli.main(argv, {"AUTH_SECRET": "hidden-secret"})
    out, err = capsys.readouterr()
    assert isinstance(json.loads(out), dict)
    assert "hidden-secret" not in out
    assert err == ""


def test_print_config_in_json_holds_the_problems(capsys: pytest.CaptureFixture[str]) -> None:
    """Values and sources as in the text; exit 2 as there."""
    assert cli.main(["print-config", "-offline", "-port=x", "-json"], {}) == ExitCode.BAD_CONFIGURATION
    doc = json.loads(capsys.readouterr().out)
    assert doc["mode"] == "offline"
    assert [problem.split(":")[0] for problem in doc["problems"]] == ["port"]
    (entry,) = [entry for entry in doc["options"] if entry["flag"] == "offline"]
    assert entry == {
        "flag": "offline",
        "variable": "OFFLINE",
        "value": "true",
        "source": "flag -offline",
        "given": True,
    }


def test_a_single_mistake_is_a_single_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A mistyped flag says nothing of options that seem to be missing because of it."""
    assert cli.main(["-account-identifer", "acc", "-org-identifier=o"], {}) == ExitCode.BAD_CONFIGURATION
    assert capsys.readouterr().err == (
        "ff-proxy: -account-identifer: no such flag; did you mean -account-identifier?\n"
    )


def test_every_problem_of_a_command_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """What is missing, and what does not go together; a mistyped flag is told alone."""
    assert cli.main(["explain"], {}) == ExitCode.BAD_CONFIGURATION
    problems = capsys.readouterr().err.splitlines()[1:]
    assert [problem.split(":")[0].strip() for problem in problems] == ["explain", "flag", "target"]
    assert cli.main(["explain", "-flg=x", "-config-dir=/c"], {}) == ExitCode.BAD_CONFIGURATION
    assert capsys.readouterr().err == "ff-proxy: -flg: no such flag; did you mean -flag?\n"


def test_a_proxy_key_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever else a configuration of version 2 has or lacks."""
    environ = {"PROXY_KEY": "v2-key", "REDIS_POOL_SIZE": "10", "PORT": "x"}
    assert cli.main([], environ) == ExitCode.BAD_CONFIGURATION
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ff-proxy: proxy-key: not supported yet")


def test_a_probe_loads_no_server() -> None:
    """A probe runs every few seconds beside the proxy: it must stay light."""
    heavy = ("asyncio", "httpx2", "redis", "starlette", "uvicorn")
    script = (
        "import sys; from ff_proxy.cli import main; main(['health', '-port=1'], {});"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", ["print-config", "health", "doctor"])
def test_commands_about_the_proxy_take_its_config_file(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its keys are options of the proxy, not of the command."""
    file = tmp_path / "options.toml"
    file.write_text(
        f'offline = true\nconfig-dir = "{tmp_path}"\nport = {free_port()}\nadmin-address = "off"\n'
    )
    code = cli.main([command, "-config", str(file)], {})
    assert code in {ExitCode.OK, ExitCode.CRASH}, capsys.readouterr().err
