"""``python -m tests.chaos [-form FORM] [-seed N] [-seconds S] [-only WORD]``: chaos for as long as wanted."""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

import msgspec

from tests.chaos.driver import Endured, ViolationError, endure, run
from tests.chaos.matrix import cells_of
from tests.chaos.records import write_record
from tests.chaos.world import Form


def _matrix(form: Form, seconds: float, only: str, place: Path, *, keep: bool) -> None:
    """Each cell of a form in turn."""
    endured: list[Endured] = []

    def tell(one: Endured) -> None:
        endured.append(one)
        sys.stdout.write(f"{form} | {one.link} | {one.kind} | {one.seconds} s | {one.last}\n")
        sys.stdout.flush()

    cells = [cell for cell in cells_of(form) if only in cell.name]
    asyncio.run(endure(form, cells, seconds, place, tell))
    if keep:
        write_record(f"matrix-{form}", {"each": seconds, "cells": endured})


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
    parser.add_argument("-keep", action="store_true", help="keep the figures for docs/proof.md")
    asked = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if asked.seed is None else asked.seed
    for form in asked.form or list(Form):
        place = Path(tempfile.mkdtemp(prefix=f"chaos-{form}-{seed}-"))
        try:
            if asked.matrix:
                _matrix(Form(form), asked.seconds, asked.only, place, keep=asked.keep)
                continue
            report = asyncio.run(run(Form(form), seed, asked.seconds, place, asked.only))
        except ViolationError as broken:
            sys.stderr.write(f"{broken}\n")
            return 1
        if asked.keep:
            write_record(f"chaos-{form}", report)
        sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
