"""Writes NOTICE: what the proxy runs on, under which licences; with --check only says if it is up to date."""

import sys
from typing import Final

from scripts.generated import write_or_check
from scripts.locked import read_lock

_HEAD: Final = """\
ff-proxy
Copyright the ff-proxy authors. Licensed under the Apache License, Version 2.0: see LICENSE.

It runs on the packages below, in the versions that requirements/runtime.txt and the image install. The text
of each licence is in the package's directory of metadata (NAME-VERSION.dist-info).
"""


def notice() -> str:
    """The file's text, from the lock and the packages that are installed here."""
    parts = [_HEAD]
    for package in read_lock():
        lines = [f"{package.name} {package.version}: {package.licence}", *package.copyrights]
        parts.append("\n    ".join(lines) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(write_or_check("NOTICE", notice(), "make notice", sys.argv[1:]))
