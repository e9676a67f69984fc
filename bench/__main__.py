"""Run the benchmarks one after another, and keep what they print with the machine they ran on.

    python -m bench [NAME ...] [--page]

Without names: all that the machine has tools for. ``--page`` writes docs/performance.md.
"""

import argparse
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
BENCHMARKS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "evaluation": ("A flag, and all flags, for a target; beside the Python SDK's evaluator.", ()),
    "reads": ("Reads, beside nginx serving the same bytes.", ("wrk", "nginx")),
    "streams": ("One change to every open stream, beside the least that a C server can do.", ("gcc",)),
    "propagation": ("From a flip at Harness to a fetch that sees it, through the proxy.", ()),
    "startup": ("From the command to ready, and memory then.", ()),
}


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--page", action="store_true")
    given = parser.parse_args()
    unknown = set(given.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    parts = []
    for name in given.names or BENCHMARKS:
        about, tools = BENCHMARKS[name]
        missing = [tool for tool in tools if shutil.which(tool) is None]
        if missing:
            print(f"{name}: NOT MEASURED, this machine has no {' and no '.join(missing)}", flush=True)
            continue
        print(f"== {name}: {about}", flush=True)
        run = subprocess.run(
            [sys.executable, str(ROOT / "bench" / f"{name}.py")],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        print(run.stdout, flush=True)
        parts.append(f"## {name}\n\n{about}\n\n```\n$ make bench-{name}\n{run.stdout.rstrip()}\n```\n")
    if given.page:
        (ROOT / "docs" / "performance.md").write_text(_page(parts), encoding="utf-8")


def _page(parts: list[str]) -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()
    model = next(
        (line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")), "unknown"
    )
    machine = f"{_cores()} cores of {model}, Linux {platform.release()}, Python {platform.python_version()}"
    head = (
        "# Performance\n\n"
        "Measured, not promised: what the commands printed, on loopback, with the clients on the\n"
        "same cores. Ratios to the peer in the same run count; absolute figures are those of one machine.\n"
        "`python -m bench --page` writes this page.\n\n"
        f"{datetime.now(UTC):%Y-%m-%d}, commit {commit}, {machine}.\n"
    )
    return "\n".join([head, *parts])


def _cpuinfo() -> list[str]:
    info = Path("/proc/cpuinfo")
    return info.read_text(encoding="utf-8").splitlines() if info.exists() else []


def _cores() -> int:
    return sum(line.startswith("processor") for line in _cpuinfo()) or 1


if __name__ == "__main__":
    main()
