"""Evaluation vectors: one file is one environment with targets and what each flag must yield.

The project's own are with the tests of conformance; the larger sets that other evaluators were run on are
read from beside the project, where they are present.
"""

from pathlib import Path
from typing import Any, Final

import msgspec

SHARED: Final = Path(__file__).parents[3] / "shared" / "vectors"
SETS: Final = ("public", "go_reference", "official")

OWN_FILES: Final = sorted((Path(__file__).parents[1] / "conformance" / "vectors").glob("*.json"))
SHARED_FILES: Final = [path for name in SETS for path in sorted((SHARED / name).glob("*.json"))]


def read(path: Path) -> dict[str, Any]:
    """``flags``, ``segments``, ``targets`` and ``tests``, of which there are some."""
    environment: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    assert environment["tests"]
    return environment
