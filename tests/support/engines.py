"""Makers of engines from wire JSON, so that evaluation tests read like configurations."""

import json
from typing import Any

from ff_proxy.evaluation import Engine, compile_engine
from ff_proxy.model.evaluation import Evaluation, NoEvaluation, Reason
from ff_proxy.model.feature import FeatureConfig, Segment
from ff_proxy.model.target import Target
from ff_proxy.wire.config import read_feature, read_segment

Doc = dict[str, Any]

ALICE = Target("alice", "Alice", {"plan": "pro", "country": "DE"})


def feature(identifier: str = "f", /, **fields: object) -> Doc:
    """A flag of variations a, b, c, on, that serves a by default; ``fields`` replace wire fields."""
    return {
        "feature": identifier,
        "kind": "string",
        "state": "on",
        "offVariation": "c",
        "variations": [{"identifier": name, "value": f"value {name}"} for name in "abc"],
        "defaultServe": {"variation": "a"},
    } | fields


def clause(attribute: str, op: str, *values: str) -> Doc:
    """A clause."""
    return {"attribute": attribute, "op": op, "values": list(values)}


def in_segments(*segments: str) -> Doc:
    """A clause that asks for membership of a segment."""
    return clause("", "segmentMatch", *segments)


def rule(variation: str, *clauses: Doc, priority: int = 1) -> Doc:
    """A rule that serves ``variation``."""
    return {"priority": priority, "clauses": list(clauses), "serve": {"variation": variation}}


def rollout(bucket_by: str, **weights: int) -> Doc:
    """A serve that distributes by ``bucket_by``."""
    shares = [{"variation": name, "weight": weight} for name, weight in weights.items()]
    return {"distribution": {"bucketBy": bucket_by, "variations": shares}}


def flag_record(doc: object) -> FeatureConfig:
    """A flag of wire JSON as the engine knows it."""
    return read_feature(json.dumps(doc).encode())


def segment_record(doc: object) -> Segment:
    """The same of a segment."""
    return read_segment(json.dumps(doc).encode())


def engine_of(*flags: Doc, segments: tuple[Doc, ...] = (), and_rules: bool = True) -> Engine:
    """An engine of wire JSON."""
    features = [flag_record(doc) for doc in flags]
    groups = [segment_record(doc) for doc in segments]
    return compile_engine(
        {record.identifier: record for record in features},
        {record.identifier: record for record in groups},
        and_rules=and_rules,
    )


def outcome(engine: Engine, flag: str = "f", target: Target | None = ALICE) -> tuple[str, Reason]:
    """The variation that ``flag`` yields ("" for none) and why, explained alike."""
    evaluation = engine.evaluate(flag, target)
    assert engine.explain(flag, target).outcome == evaluation
    return variation_of(evaluation), evaluation.reason


def variation_of(evaluation: Evaluation | NoEvaluation) -> str:
    """The variation's identifier, "" for none."""
    return evaluation.variation if isinstance(evaluation, Evaluation) else ""
