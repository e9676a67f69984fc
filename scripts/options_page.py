"""Writes docs/options.md from the declarations, or with --check only says whether it is up to date."""

import sys
from pathlib import Path

from ff_proxy.config.records import ALL
from ff_proxy.config.reference import as_markdown

PAGE = Path(__file__).parents[1] / "docs/options.md"


def main(arguments: list[str]) -> int:
    """Exit code 1 if ``--check`` finds the page to be out of date."""
    text = as_markdown(ALL)
    if arguments != ["--check"]:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write("docs/options.md is out of date: run make docs, and commit it\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
