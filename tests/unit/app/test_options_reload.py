"""The files that options come from."""

import io
import json
from pathlib import Path

import pytest

from ff_proxy.app.options_reload import OptionsReload, start_warnings
from ff_proxy.config.load import Loaded, load
from ff_proxy.telemetry.logs import make_logger


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file with the secret that signs tokens."""
    path = tmp_path / "secret"
    path.touch(0o600)
    path.write_text("hidden-one\n")
    return path


def offline(tmp_path: Path, secret: Path) -> Loaded:
    """Options of which one comes from a file."""
    config = tmp_path / "config.toml"
    config.write_text("port = 7001\n")
    config.chmod(0o644)
    arguments = ["-offline", f"-config-dir={tmp_path}", f"-config={config}"]
    return load(arguments, {"AUTH_SECRET_FILE": str(secret)})


def test_a_secret_that_everybody_can_read_is_warned_of(tmp_path: Path, secret: Path) -> None:
    """By its path; a file of options is left alone."""
    assert not any("every user can read" in line for line in start_warnings(offline(tmp_path, secret)))
    secret.chmod(0o644)
    (line,) = [line for line in start_warnings(offline(tmp_path, secret)) if "every user can read" in line]
    assert line.startswith(str(secret))


def test_what_has_changed_is_named_and_not_shown(tmp_path: Path, secret: Path) -> None:
    """Compared with the start, however often it is asked for."""
    out = io.StringIO()
    again = OptionsReload(offline(tmp_path, secret), make_logger("INFO", out))
    again()
    secret.write_text("hidden-two\n")
    again()
    again()
    (tmp_path / "config.toml").write_text("port = 7002\n")
    again()
    (tmp_path / "config.toml").write_text("port = maybe\n")
    again()
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["options"] for line in lines[1:3]] == [["auth-secret"]] * 2
    assert set(lines[3]["options"]) == {"auth-secret", "port"}
    assert lines[0]["event"] == "options have not changed"
    assert lines[4]["problems"]
    assert "hidden" not in out.getvalue()
