"""A suite of one module, run under one plugin of ours and no other: to test what holds for every test."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[2]


def run_suite(directory: Path, module: str, plugin: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run it in ``directory``; ``CI`` is set only if it is given."""
    (directory / "test_it.py").write_text(module)
    arguments = ["-q", "-p", plugin, "--rootdir", str(directory), str(directory)]
    kept = {name: value for name, value in os.environ.items() if name != "CI"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=_ROOT,
        env=kept | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
