"""CPU time of evaluating flags, beside the Python SDK's evaluator in the same run.

    python bench/evaluation.py [--rounds N] [environment.json ...]

Without files it measures the shared environment beside the project, where present, and one that it makes
up. Each round measures both evaluators one after the other on every target, so that whatever else the
machine does falls on both; medians over the rounds are printed, in CPU time of this process. Nothing
about a target is kept between passes, so each is as new as a client's first request.
"""

import argparse
import gc
import json
import logging
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import featureflags.evaluations.auth_target as sdk_target
import featureflags.evaluations.evaluator as sdk_evaluator
import featureflags.lru_cache as sdk_cache
import featureflags.openapi.config.models.feature_config as sdk_feature
import featureflags.openapi.config.models.segment as sdk_segment
import featureflags.repository as sdk_repository

from ff_proxy.evaluation import Engine, compile_engine
from ff_proxy.model.wire.config import read_feature, read_segment, read_target

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, Python looks in its own directory only

from bench.generate import environment

SHARED = Path(__file__).parents[2] / "shared" / "vectors" / "bench-env-100x5x20.json"

Doc = dict[str, Any]
Pass = Callable[[], int]
"""Evaluates for every target and says how many evaluations that were."""


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description="measure the evaluation engine")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("files", type=Path, nargs="*")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # the SDK warns of every bucket that falls back to the identifier
    environments = {path.name: json.loads(path.read_bytes()) for path in options.files}
    if not environments:
        if SHARED.is_file():
            environments[SHARED.name] = json.loads(SHARED.read_bytes())
        else:
            print(f"not measured, because it is not there: {SHARED.name} of the shared vectors")
        environments["generated, seed 1"] = environment(1)
    for name, docs in environments.items():
        measure(name, docs, options.rounds)


def measure(name: str, docs: Doc, rounds: int) -> None:
    """Print one environment's figures."""
    engine, seconds = compiled(docs)
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

    sdk = sdk_pass(docs)
    ours_all, ours_records, ours_one, sdk_all = interleaved((all_json, all_records, single, sdk), rounds)
    print(f"{name}: {len(flags)} flags, {len(engine.segments)} segments, {len(targets)} targets")
    row("decoded JSON to engine", seconds)
    row("engine after one change", recompiling(docs, engine))
    row("one flag, as JSON", ours_one)
    row("all flags, as JSON", ours_all, len(flags))
    row("all flags, as records", ours_records, len(flags))
    row("all flags, Python SDK", sdk_all, len(flags))
    print(f"  Python SDK / all as JSON  {sdk_all / ours_all:9.1f} times")


def row(label: str, seconds: float, evaluations: int = 0) -> None:
    """Print one figure, and its share for each evaluation if it stands for several."""
    each = f" {seconds * 1e6 / evaluations:8.2f} µs each" if evaluations else ""
    print(f"  {label:25} {seconds * 1e6:9.1f} µs{each}")


def interleaved(passes: tuple[Pass, ...], rounds: int) -> list[float]:
    """Each pass's median CPU seconds for one evaluation, all of them measured in turn in every round."""
    taken: list[list[float]] = [[] for _ in passes]
    for _ in range(rounds + 1):
        for times, one_pass in zip(taken, passes, strict=True):
            gc.collect()
            started = time.process_time()
            count = one_pass()
            times.append((time.process_time() - started) / count)
    return [statistics.median(times[1:]) for times in taken]  # the first round warms up


def compiled(docs: Doc) -> tuple[Engine, float]:
    """The environment's engine, and the CPU seconds that decoded JSON took to become it."""
    started = time.process_time()
    engine = compile_engine(
        {doc["feature"]: read_feature(doc) for doc in docs["flags"]},
        {doc["identifier"]: read_segment(doc) for doc in docs["segments"]},
    )
    return engine, time.process_time() - started


def recompiling(docs: Doc, engine: Engine) -> float:
    """CPU seconds to compile the environment again when one flag has changed."""
    flags = {name: flag.record for name, flag in engine.flags.items()}
    segments = {name: segment.record for name, segment in engine.segments.items()}
    times = []
    for version in range(100):
        doc = docs["flags"][version % len(docs["flags"])]
        flags[doc["feature"]] = read_feature(doc | {"version": 1000 + version})
        started = time.process_time()
        engine = compile_engine(flags, segments, previous=engine)
        times.append(time.process_time() - started)
    return statistics.median(times)


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


if __name__ == "__main__":
    main()
