"""The fenced blocks of the documentation, for the tests that run them."""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_FENCE: Final = re.compile(
    r"^(?P<indent> *)```(?P<language>\S*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Block:
    """What stands between two fences.

    ``page`` is its file below the top of the repository, ``line`` the first of the text, ``language`` what
    the fence names, if anything.
    """

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """Every page of the documentation, below the top of the repository."""
    found = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
    return ["README.md", *found]


def blocks(page: str) -> list[Block]:
    """The fenced blocks of one page, in their order."""
    text = (ROOT / page).read_text("utf-8")
    return [
        Block(page, text.count("\n", 0, match.start()) + 2, match["language"], textwrap.dedent(match["text"]))
        for match in _FENCE.finditer(text)
    ]


def block(page: str, language: str) -> Block:
    """The only block of a page in that language."""
    (only,) = (one for one in blocks(page) if one.language == language)
    return only
