"""Writes docs/options.md from the declarations, or with --check only says whether it is up to date."""

import sys

from ff_proxy.config.records import ALL
from ff_proxy.config.reference import as_markdown
from scripts.generated import write_or_check

if __name__ == "__main__":
    sys.exit(write_or_check("docs/options.md", as_markdown(ALL), "make docs", sys.argv[1:]))
