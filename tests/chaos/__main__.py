"""``python -m tests.chaos [-form FORM] [-seed N] [-seconds S] [-only WORD]``: chaos for as long as wanted."""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

import msgspec

from tests.chaos.driver import ViolationError, endure, run
from tests.chaos.matrix import cells_of
from tests.chaos.world import Form


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Exit code 1 if a promise was broken; what was survived is printed as JSON, one line per form."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "-form", choices=list(Form), action="append", help="by default all, one after the other"
    )
    parser.add_argument("-seed", type=int, help="by default a new one")
    parser.add_argument("-seconds", type=float, default=60.0, help="for each form")
    parser.add_argument(
        "-matrix", action="store_true", help="instead: each cell of the matrix for so many seconds"
    )
    parser.add_argument("-only", default="", help="faults with this in their names")
    asked = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if asked.seed is None else asked.seed
    for form in asked.form or list(Form):
        place = Path(tempfile.mkdtemp(prefix=f"chaos-{form}-{seed}-"))
        if asked.matrix:
            cells = [cell for cell in cells_of(Form(form)) if asked.only in cell.name]
            asyncio.run(endure(Form(form), cells, asked.seconds, place, _tell))
            continue
        try:
            report = asyncio.run(run(Form(form), seed, asked.seconds, place, asked.only))
        except ViolationError as broken:
            sys.stderr.write(f"{broken}\n")
            return 1
        sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
