"""The manual page holds every command and option, and troff has nothing to complain of."""

import io
import shutil
import subprocess

import pytest

from ff_proxy.commands import manual
from ff_proxy.commands.registry import COMMANDS
from ff_proxy.config.records import ALL


def test_everything_is_in_it() -> None:
    """Hyphens written so that they can be searched for and copied."""
    out = io.StringIO()
    assert manual.run([], {}, out) == 0
    text = out.getvalue()
    for name in COMMANDS:
        assert f".B ff\\-proxy {name}".replace("print-", "print\\-") in text
    for option in ALL:
        assert f"-{option.flag}".replace("-", "\\-") in text
        assert option.env in text


@pytest.mark.skipif(shutil.which("groff") is None, reason="there is no groff here")
def test_troff_takes_it() -> None:
    """Without a warning."""
    page = "\n".join(manual.page())
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww"],
        input=page,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stderr == ""
    assert "RREEDDIISS__PPAASSSSWWOORRDD" in done.stdout.replace("\b", "") or "REDIS_PASSWORD" in done.stdout
