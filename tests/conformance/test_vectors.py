"""Evaluation vectors: what each flag must yield, flag by flag."""

from pathlib import Path

import pytest

from ff_proxy.evaluation import compile_engine
from ff_proxy.model.evaluation import Evaluation, NoEvaluation
from ff_proxy.wire.config import read_target
from tests.support.engines import flag_record, segment_record
from tests.support.vectors import OWN_FILES, SETS, SHARED, SHARED_FILES, read


def _answer(evaluation: Evaluation | NoEvaluation) -> tuple[str | None, str | None]:
    if isinstance(evaluation, NoEvaluation):
        return None, None
    return evaluation.value, evaluation.variation


def _check(path: Path) -> None:
    environment = read(path)
    engine = compile_engine(
        {doc["feature"]: flag_record(doc) for doc in environment["flags"]},
        {doc["identifier"]: segment_record(doc) for doc in environment["segments"]},
    )
    targets = {doc["identifier"]: read_target(doc) for doc in environment["targets"]} | {None: None}
    wrong = []
    for test in environment["tests"]:
        target = targets[test["target"]]
        evaluation = engine.evaluate(test["flag"], target)
        assert engine.explain(test["flag"], target).outcome == evaluation
        if _answer(evaluation) != (test["expected"], test["variation"]):
            wrong.append((test, evaluation))
    assert wrong == []


@pytest.mark.parametrize("path", OWN_FILES, ids=lambda path: path.stem)
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
