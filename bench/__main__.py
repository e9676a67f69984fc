"""Measure ff-proxy beside its peers, print the figures, and keep them with the machine they were taken on.

    python -m bench [NAME ...] [--quick] [--only TEXT ...] [--peer FILE ...]

Without names: all that this machine has the tools for, within a quarter of an hour; what was measured is then
kept in bench/results. ``make bench`` and ``make bench-NAME`` do the same; QUICK=1 stands for ``--quick``.
"""

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from bench.common.machine import commit, machine
from bench.common.plan import BenchError, Plan
from bench.common.processes import raise_file_limit
from bench.common.results import Report, Table, write_report
from bench.common.text import as_text, not_measured
from bench.suite import BENCHMARKS


def main() -> int:
    """Measure, print, keep; returns 1 if a benchmark could not be carried out."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="only see whether everything works")
    parser.add_argument(
        "--only", nargs="*", default=[], metavar="TEXT", help="rows with one of these in them"
    )
    parser.add_argument("--peer", nargs="*", default=[], type=Path, metavar="FILE", help="see bench/peers")
    parser.add_argument("--keep", action="store_true", help="keep the results even if not all was measured")
    given = parser.parse_args()
    unknown = set(given.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    quick = given.quick or os.environ.get("QUICK", "") not in {"", "0"}
    plan = Plan(quick, tuple(given.only), tuple(given.peer))
    raise_file_limit()
    names = given.names or list(BENCHMARKS)
    outcomes, failed = [], []
    for name in names:
        print(f"== {name}: {BENCHMARKS[name].about}", flush=True)
        try:
            outcome = BENCHMARKS[name].run(plan, _show)
        except BenchError as error:
            failed.append(name)
            print(f"FAILED: {error}\n", flush=True)
            continue
        print(not_measured(outcome) if outcome.missing else f"took {outcome.seconds:.0f} s", "\n", flush=True)
        outcomes.append(outcome)
    if given.keep or (not quick and not plan.only and not failed and names == list(BENCHMARKS)):
        measured = f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}"
        path = write_report(Report(measured, commit(), quick, machine(), tuple(outcomes)))
        print(f"kept in {path}")
    if failed:
        print(f"could not be carried out: {', '.join(failed)}")
    return 1 if failed else 0


def _show(table: Table) -> None:
    print(f"\n{as_text(table)}\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
