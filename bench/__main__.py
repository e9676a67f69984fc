"""Measure ff-proxy and its peers, print the figures, and keep them with a description of the machine.

    python -m bench [NAME ...] [--quick] [--only TEXT ...] [--peer FILE ...] [--keep]
    python -m bench --page

Without names: all that this machine has the tools for; what was measured is then kept in bench/results, and
docs/performance.md and docs/capacity.md are written from the newest file there. ``make bench`` and
``make bench-NAME`` do the same; QUICK=1 stands for ``--quick``.
"""

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from bench import page as performance
from bench.capacity import page as capacity
from bench.common.machine import commit, machine
from bench.common.plan import Plan
from bench.common.processes import interruptible, raise_file_limit
from bench.common.results import Outcome, Report, Table, newest_report, write_report
from bench.common.tables import as_text, not_measured
from bench.suite import BENCHMARKS

_INTERRUPTED = 130


def main() -> int:
    """Measure, print, keep; returns 1 if a benchmark could not be carried out."""
    given = _arguments()
    if given.page:
        _write_pages()
        return 0
    quick = given.quick or os.environ.get("QUICK", "") not in {"", "0"}
    plan = Plan(quick, tuple(given.only), tuple(given.peer))
    names = given.names or list(BENCHMARKS)
    raise_file_limit()
    where, what = machine(), commit()  # now: either may be another when all is measured
    try:
        with interruptible():
            outcomes = [_measured(name, plan) for name in names]
    except KeyboardInterrupt:
        print("\ninterrupted: nothing is kept, and every server was ended")
        return _INTERRUPTED
    if given.keep or (names == list(BENCHMARKS) and not quick and not plan.only):
        measured = f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}"
        path = write_report(Report(measured, what, quick, where, tuple(outcomes)))
        print(f"kept in {path}")
        _write_pages()
    failed = [outcome.name for outcome in outcomes if outcome.failed]
    if failed:
        print(f"could not be carried out: {', '.join(failed)}")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
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
    parser.add_argument("--page", action="store_true", help="write the pages in docs, and measure nothing")
    given = parser.parse_args()
    unknown = set(given.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    return given


def _measured(name: str, plan: Plan) -> Outcome:
    print(f"== {name}: {BENCHMARKS[name].about}", flush=True)
    outcome = BENCHMARKS[name].run(plan, _show)
    if outcome.missing or outcome.failed:
        print(not_measured(outcome), "\n", flush=True)
    else:
        print(f"took {outcome.seconds:.0f} s\n", flush=True)
    return outcome


def _show(table: Table) -> None:
    print(f"\n{as_text(table)}\n", flush=True)


def _write_pages() -> None:
    report = newest_report()
    performance.PAGE.write_text(performance.page(report), encoding="utf-8")
    capacity.PAGE.write_text(capacity.page(report), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
