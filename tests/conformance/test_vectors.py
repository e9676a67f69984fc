"""Evaluation vectors: one file is one environment with targets and what each flag must yield.

The project's own are in ``vectors/``; the larger sets that other evaluators were run on are read from
beside the project, where they are present.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from ff_proxy.evaluation import compile_engine
from ff_proxy.model.evaluation import Evaluation, NoEvaluation
from ff_proxy.wire.config import read_feature, read_segment, read_target

OWN = Path(__file__).parent / "vectors"
SHARED = Path(__file__).parents[3] / "shared" / "vectors"
SETS = ("public", "go_reference", "official")

SHARED_FILES = [path for name in SETS for path in sorted((SHARED / name).glob("*.json"))]


def _answer(evaluation: Evaluation | NoEvaluation) -> tuple[str | None, str | None]:
    if isinstance(evaluation, NoEvaluation):
        return None, None
    return evaluation.value, evaluation.variation


def _check(path: Path) -> None:
    environment: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    engine = compile_engine(
        {doc["feature"]: read_feature(doc) for doc in environment["flags"]},
        {doc["identifier"]: read_segment(doc) for doc in environment["segments"]},
    )
    targets = {doc["identifier"]: read_target(doc) for doc in environment["targets"]} | {None: None}
    wrong = []
    for test in environment["tests"]:
        target = targets[test["target"]]
        evaluation = engine.evaluate(test["flag"], target)
        assert engine.explain(test["flag"], target).outcome == evaluation
        if _answer(evaluation) != (test["expected"], test["variation"]):
            wrong.append((test, evaluation))
    assert environment["tests"]
    assert wrong == []


@pytest.mark.parametrize("path", sorted(OWN.glob("*.json")), ids=lambda path: path.stem)
def test_own(path: Path) -> None:
    """The project's own cases, one file per part of the specification."""
    _check(path)


@pytest.mark.parametrize("path", SHARED_FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_shared(path: Path) -> None:
    """Cases that the real evaluators were run on, and the official cross-SDK ones."""
    _check(path)


@pytest.mark.parametrize("name", SETS)
def test_shared_is_present(name: str) -> None:
    """Without the shared sets, hundreds of cases are not run: said once for each set."""
    if not any((SHARED / name).glob("*.json")):
        pytest.skip(f"no evaluation vectors in {SHARED / name}")
