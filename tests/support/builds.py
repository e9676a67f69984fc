"""Another build of the proxy: these sources with a higher version and a newer layout of the SQLite file."""

import os
import shutil
from pathlib import Path
from typing import Final

import ff_proxy

NEWER: Final = "99.0.0"
_LAYOUT: Final = "VERSION: Final = 1\n"
_NEWER_LAYOUT: Final = "VERSION: Final = 2\n"
_CHECKED: Final = "    check(connection, path)\n"
_MIGRATED: Final = f'{_CHECKED}    connection.execute(f"PRAGMA user_version = {{VERSION}}")\n'


def newer_build(place: Path) -> dict[str, str]:
    """Make it below ``place``; returns the variables with which a process runs it.

    It reads the file of this build and marks it as its own, as a build with a new layout has to.
    """
    package = place / "ff_proxy"
    shutil.copytree(Path(ff_proxy.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    about = package / "__init__.py"
    about.write_text(about.read_text().replace(ff_proxy.__version__, NEWER))
    schema = package / "store/sqlite/schema.py"
    text = schema.read_text()
    assert text.count(_LAYOUT) == text.count(_CHECKED) == 1, "the layout's module has changed"
    schema.write_text(text.replace(_LAYOUT, _NEWER_LAYOUT).replace(_CHECKED, _MIGRATED))
    others = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([str(place), *([others] if others else [])])}
