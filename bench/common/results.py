"""Results as records: tables of figures, kept as JSON with the machine they were measured on."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from bench.common.figures import Figure

DIRECTORY = Path(__file__).parents[1] / "results"


class Column(msgspec.Struct, frozen=True):
    """A heading with its unit; ``digits`` behind the point are shown; ``spread`` says whether it is, too."""

    name: str
    digits: int = 0
    spread: bool = False


class Row(msgspec.Struct, frozen=True):
    """What was measured, and one figure per column; ``None`` where there is none."""

    label: str
    figures: tuple[Figure | None, ...]


class Table(msgspec.Struct, frozen=True):
    """Rows of the same kind; ``about`` says in a sentence or two what they are."""

    title: str
    about: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    def figure(self, row: str, column: str) -> Figure | None:
        """One figure by its headings; raises ``KeyError`` if there is no such row or column."""
        place = {one.name: number for number, one in enumerate(self.columns)}[column]
        return {one.label: one.figures for one in self.rows}[row][place]


class Outcome(msgspec.Struct, frozen=True):
    """One benchmark's tables.

    ``missing`` names the tools without which it could not be measured, ``failed`` says what went wrong after
    the tables that are there.
    """

    name: str
    seconds: float
    tables: tuple[Table, ...] = ()
    missing: tuple[str, ...] = ()
    failed: str = ""


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured; ``load`` is how many processes wanted to run in the minute before."""

    cores: int
    processor: str
    memory_gb: float
    system: str
    versions: Mapping[str, str]
    load: float = 0.0


class Report(msgspec.Struct, frozen=True):
    """The results of one run of the benchmarks; ``measured`` is UTC in ISO 8601."""

    measured: str
    commit: str
    quick: bool
    machine: Machine
    outcomes: tuple[Outcome, ...]

    def outcome(self, name: str) -> Outcome:
        """One benchmark's outcome; raises ``KeyError`` if it was not run."""
        return {one.name: one for one in self.outcomes}[name]

    def figure(self, benchmark: str, table: str, row: str, column: str) -> Figure | None:
        """One figure by its headings; raises ``KeyError`` for what was not measured."""
        tables = {one.title: one for one in self.outcome(benchmark).tables}
        return tables[table].figure(row, column)


def write_report(report: Report, directory: Path = DIRECTORY) -> Path:
    """Save a report.

    What it lacks is taken over from one of the same day and commit, so that one benchmark may be repeated.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{report.measured[:10]}-{report.commit}{'-quick' if report.quick else ''}.json"
    if path.exists():
        outcomes = {one.name: one for one in (*read_report(path).outcomes, *report.outcomes)}
        report = msgspec.structs.replace(report, outcomes=tuple(outcomes.values()))
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    return path


def read_report(path: Path) -> Report:
    """Load a report."""
    return msgspec.json.decode(path.read_bytes(), type=Report)


def latest_report(directory: Path = DIRECTORY) -> tuple[Path, Report]:
    """The newest report, a quick one only if there is no other.

    Raises ``FileNotFoundError`` if there is none at all.
    """
    held: Sequence[tuple[Path, Report]] = [
        (path, read_report(path)) for path in sorted(directory.glob("????-??-??-*.json"))
    ]
    if not held:
        raise FileNotFoundError(f"no results in {directory}: run `make bench` first")
    return max(held, key=lambda one: (not one[1].quick, one[1].measured))


def newest_report() -> Report | None:
    """The newest report; ``None`` if there is none."""
    try:
        return latest_report()[1]
    except FileNotFoundError:
        return None
