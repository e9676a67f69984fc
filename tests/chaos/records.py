"""What runs have come to, kept beside them: ``docs/proof.md`` is written from these."""

import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

PLACE: Final = Path(__file__).parent / "results"


class Record(msgspec.Struct, frozen=True):
    """A run: when, at which commit, on what, and its figures."""

    name: str
    when: str
    commit: str
    python: str
    figures: Any


def write_record(name: str, figures: object) -> None:
    """Keep the newest run of that name."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], check=False, capture_output=True, text=True, cwd=PLACE.parent
    )
    record = Record(
        name=name,
        when=datetime.now(UTC).strftime("%Y-%m-%d"),
        commit=commit.stdout.strip(),
        python=platform.python_version(),
        figures=figures,
    )
    PLACE.mkdir(exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(record), indent=1)
    (PLACE / f"{name}.json").write_bytes(text + b"\n")


def read_records() -> dict[str, Record]:
    """The newest run of each name."""
    found = [msgspec.json.decode(file.read_bytes(), type=Record) for file in sorted(PLACE.glob("*.json"))]
    return {record.name: record for record in found}
