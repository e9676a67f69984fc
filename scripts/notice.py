"""Writes NOTICE: what the proxy runs on, under which licences; with --check only says if it is up to date."""

import sys
from typing import Final

from scripts.locked import ROOT, read_lock

FILE: Final = ROOT / "NOTICE"
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


def main(arguments: list[str]) -> int:
    """Exit code 1 if ``--check`` finds the file to be out of date."""
    text = notice()
    if arguments != ["--check"]:
        FILE.write_text(text, encoding="utf-8")
        return 0
    if FILE.is_file() and FILE.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write("NOTICE is out of date: run make notice, and commit it\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
