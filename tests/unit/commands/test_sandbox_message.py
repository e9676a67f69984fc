"""What ``ff-proxy sandbox -proxy`` says to paste is what the pages of the SDKs say."""

import re
from pathlib import Path
from typing import Final

import pytest

from ff_proxy.commands.sandbox_message import sdk_lines

PAGES: Final = Path(__file__).parents[3] / "docs/sdks"
FILES: Final = {"Node.js": "node", ".NET": "dotnet"}
LINES: Final = [line.split(None, 1) for line in sdk_lines("http://h:1", "server-key", "client-key")][:-1]


@pytest.mark.parametrize(("name", "line"), LINES, ids=[name for name, _ in LINES])
def test_the_settings_are_those_of_the_page(name: str, line: str) -> None:
    """By their names; and nothing is left to fill in but the target."""
    page = (PAGES / f"{FILES.get(name, name.lower())}.md").read_text("utf-8")
    settings = set(re.findall(r"\w*ur[li]\w*", line, re.IGNORECASE))
    assert settings
    assert settings - set(re.findall(r"\w+", page)) == set()
    assert line.count("http://h:1") >= 2
    assert "{{" not in line or name == "React"
