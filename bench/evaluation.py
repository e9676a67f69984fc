"""CPU time of evaluating flags, compared with the Python SDK's evaluator in the same run.

Each round measures both evaluators on every target, in turns, in CPU time of this process. Nothing about a
target is kept between passes, so each is as new as a client's first request.
"""

import gc
import json
import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import featureflags.evaluations.auth_target as sdk_target
import featureflags.evaluations.evaluator as sdk_evaluator
import featureflags.lru_cache as sdk_cache
import featureflags.openapi.config.models.feature_config as sdk_feature
import featureflags.openapi.config.models.segment as sdk_segment
import featureflags.repository as sdk_repository
import msgspec

from bench.common.figures import Figure
from bench.common.plan import Plan
from bench.common.results import Column, Row, Table
from bench.common.turns import in_turns
from bench.generate import environment
from ff_proxy.evaluation import Engine, compile_engine
from ff_proxy.wire.config import read_feature, read_segment, read_target

SHARED = Path(__file__).parents[2] / "shared" / "vectors" / "bench-env-100x5x20.json"

_ABOUT = (
    "Microseconds of CPU for a target that was never seen. Compiling is from decoded JSON; after a change,"
    " one flag of the environment is another and the rest is taken over."
)

_COLUMNS = (Column("CPU µs", 1, spread=True), Column("each", 2))

Doc = dict[str, Any]
Pass = Callable[[], int]
"""Evaluates for every target and says how many evaluations that were."""


def measure(plan: Plan) -> Iterator[Table]:
    """One table for each environment."""
    logging.disable(logging.CRITICAL)  # the SDK warns of every bucket that falls back to the identifier
    try:
        for name, docs in _environments(plan):
            yield Table(
                f"Evaluation, {name}",
                _ABOUT,
                _COLUMNS,
                _rows(plan, docs),
            )
    finally:
        logging.disable(logging.NOTSET)


def _environments(plan: Plan) -> Iterator[tuple[str, Doc]]:
    if plan.quick:
        yield "5 flags", environment(1, flags=5, targets=5)
        return
    if SHARED.is_file():
        yield f"{SHARED.stem} of the shared vectors", json.loads(SHARED.read_bytes())
    yield "100 flags, 5 rules each", environment(1)
    yield "1,000 flags, 5 rules each", environment(1, flags=1000, targets=10)


def _rows(plan: Plan, docs: Doc) -> tuple[Row, ...]:
    engine, _ = compiled(docs)
    targets = [read_target(doc) for doc in docs["targets"]]
    flags = sorted(engine.flags)

    def all_json() -> int:
        for target in targets:
            engine.evaluate_all_json(target)
        return len(targets)

    def all_records() -> int:
        for target in targets:
            engine.evaluate_all(target)
        return len(targets)

    def single() -> int:
        for target in targets:
            for flag in flags:
                engine.evaluate_json(flag, target)
        return len(targets) * len(flags)

    rounds = plan.pick(15, 1)
    passes = [partial(_timed, one) for one in (single, all_json, all_records, sdk_pass(docs))]
    one, ours, records, sdk = in_turns(passes, rounds, warm_up=True)
    ratios = Figure.of(theirs / own for theirs, own in zip(sdk, ours, strict=True))
    compiling = Figure.of(compiled(docs)[1] * 1e6 for _ in range(rounds))
    return (
        Row("one flag, as JSON", (Figure.of(one), None)),
        Row("all flags, as JSON", (Figure.of(ours), _each(ours, len(flags)))),
        Row("all flags, as records", (Figure.of(records), _each(records, len(flags)))),
        Row("all flags, Python SDK", (Figure.of(sdk), _each(sdk, len(flags)))),
        Row("Python SDK / all as JSON, times", (ratios, None)),
        Row("compiling all", (compiling, None)),
        Row("compiling after one change", (recompiling(docs, engine, plan.pick(100, 3)), None)),
    )


def _each(times: list[float], flags: int) -> Figure:
    return Figure.of(time / flags for time in times)


def _timed(one_pass: Pass) -> float:
    gc.collect()
    started = time.process_time()
    count = one_pass()
    return (time.process_time() - started) * 1e6 / count


def compiled(docs: Doc) -> tuple[Engine, float]:
    """The environment's engine, and the CPU seconds of compiling it from decoded JSON."""
    started = time.process_time()
    engine = compile_engine(
        {doc["feature"]: read_feature(msgspec.json.encode(doc)) for doc in docs["flags"]},
        {doc["identifier"]: read_segment(msgspec.json.encode(doc)) for doc in docs["segments"]},
    )
    return engine, time.process_time() - started


def recompiling(docs: Doc, engine: Engine, changes: int) -> Figure:
    """CPU microseconds to compile the environment again when one flag has changed."""
    flags = {name: flag.record for name, flag in engine.flags.items()}
    segments = {name: segment.record for name, segment in engine.segments.items()}
    times = []
    for version in range(changes):
        doc = docs["flags"][version % len(docs["flags"])]
        flags[doc["feature"]] = read_feature(msgspec.json.encode(doc | {"version": 1000 + version}))
        started = time.process_time()
        engine = compile_engine(flags, segments, previous=engine)
        times.append((time.process_time() - started) * 1e6)
    return Figure.of(times)


def sdk_pass(docs: Doc) -> Pass:
    """The same evaluations by the Python SDK's evaluator on its own in-memory cache."""
    repository = sdk_repository.Repository(
        sdk_cache.LRUCache(size=len(docs["flags"]) + len(docs["segments"]))
    )
    kinds = {}
    for doc in docs["flags"]:
        flag = sdk_feature.FeatureConfig.from_dict(json.loads(json.dumps(doc)))
        repository.set_flag(flag)
        kinds[flag.feature] = flag.kind
    for doc in docs["segments"]:
        repository.set_segment(sdk_segment.Segment.from_dict(json.loads(json.dumps(doc))))
    evaluator = sdk_evaluator.Evaluator(repository)
    targets = [sdk_target.Target.from_dict(doc) for doc in docs["targets"]]

    def every_flag() -> int:
        for target in targets:
            for flag, kind in kinds.items():
                evaluator.evaluate(flag, target, kind)
        return len(targets)

    return every_flag
