"""docs/admin.md says of every option whether a reload takes it up, and of the others why not."""

import re
from collections import Counter
from pathlib import Path

from ff_proxy.config.records import ALL

PAGE = Path(__file__).parents[3] / "docs/admin.md"


def test_the_page_names_each_option_once_and_where_it_belongs() -> None:
    """As they are declared."""
    section = PAGE.read_text(encoding="utf-8").partition("\n## Reload\n")[2].partition("\n## ")[0]
    tables = re.split(r"\|---\|---\|\n", section)[1:]
    cells = [[row.split("|")[1] for row in table.splitlines() if row.startswith("|")] for table in tables]
    live, restart = [Counter(re.findall(r"`([^`]+)`", " ".join(column))) for column in cells]
    assert live == Counter(one.flag for one in ALL if one.reloadable)
    assert restart == Counter(one.flag for one in ALL if not (one.reloadable or one.ignored))
