"""print-config shows what a run would use, and where each value comes from."""

import io

import pytest

from ff_proxy.commands.print_config import print_config
from ff_proxy.config import records
from ff_proxy.config.settings import read_settings
from ff_proxy.errors import ConfigError, ExitCode

ENVIRON = {"OFFLINE": "true", "AUTH_SECRET": "secret", "API_KEYS": "0123456789"}


def test_every_option_has_a_line_with_value_and_source() -> None:
    """The mode first, warnings last, secrets masked."""
    out = io.StringIO()
    assert print_config(read_settings(["-port=1"], ENVIRON), out) is ExitCode.OK
    first, *table, warning = out.getvalue().splitlines()
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in table}
    assert first == "mode: offline"
    assert list(rows) == [option.flag for option in records.ALL]
    assert rows["port"] == ["1", "flag -port"]
    assert rows["offline"] == ["true", "environment variable OFFLINE"]
    assert rows["auth-secret"] == ["***", "environment variable AUTH_SECRET"]
    assert rows["api-keys"] == ["0123***#84d898", "environment variable API_KEYS"]
    assert rows["log-level"] == ["INFO", "default"]
    assert rows["org-identifier"] == ["-", "default"]
    assert warning.startswith("warning: auth-secret is the published default")


def test_unusable_options_are_shown_before_their_problems() -> None:
    """It is when something is wrong that people look."""
    out = io.StringIO()
    with pytest.raises(ConfigError) as caught:
        print_config(read_settings(["-port=x", "-offline", "-read-replica"], {}), out)
    assert "mode: replica" in out.getvalue()
    assert "flag -port" in out.getvalue()
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "port",
        "redis-address",
        "read-replica",
    ]
