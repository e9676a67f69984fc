"""Evaluation vectors through OFREP: it gives the value that evaluations give (spec/behaviour#ofrep)."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ff_proxy.model.environment import Item
from ff_proxy.wire.normalise import Rejected, normalise_flag, normalise_segment
from tests.support.configs import KEY, config
from tests.support.http import Wire
from tests.support.vectors import OWN_FILES, SHARED_FILES, read
from tests.support.web import Site, connected, message, serving

BULK = "/ofrep/v1/evaluate/flags"
HEADERS = {"X-API-Key": KEY}


@pytest.mark.parametrize("path", OWN_FILES + SHARED_FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
async def test_lists_and_single_flags(path: Path) -> None:
    """Each value of its flag's kind, and nothing where evaluations have nothing."""
    environment = read(path)
    items = [normalise_flag(doc) for doc in environment["flags"]]
    groups = [normalise_segment(doc) for doc in environment["segments"]]
    kinds = {doc["feature"]: doc["kind"] for doc in environment["flags"]}
    wrong: list[object] = []
    async with serving(Site(), config(*_accepted(items + groups))) as site, connected(site) as wire:
        for context, tests in _by_context(environment):
            listed = await _flags(wire, context)
            for test in tests:
                expected = _expected(kinds.get(test["flag"], ""), test)
                alone = await _post(wire, f"{BULK}/{test['flag']}", context)
                answers = (alone, listed.get(test["flag"], alone))
                nobody = test["target"] is None
                wrong.extend((test, got) for got in answers if not _agrees(got, expected, nobody=nobody))
    assert wrong == []


def _accepted(items: list[Item | Rejected]) -> list[Item]:
    return [item for item in items if isinstance(item, Item)]


def _by_context(environment: Mapping[str, Any]) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    contexts = {doc["identifier"]: _context(doc) for doc in environment["targets"]} | {None: {}}
    tests: dict[str | None, list[dict[str, Any]]] = {}
    for test in environment["tests"]:
        tests.setdefault(test["target"], []).append(test)
    return [(contexts[target], asked) for target, asked in tests.items()]


def _context(target: Mapping[str, Any]) -> dict[str, Any]:
    """The target as OpenFeature has it: everything on one level, where its own name comes first."""
    own = {"targetingKey": target["identifier"], "name": target.get("name") or ""}
    return dict(target.get("attributes") or {}) | own


def _expected(kind: str, test: Mapping[str, Any]) -> dict[str, Any]:
    """What an answer must hold."""
    if test["variation"] is None:
        return {"variant": None}
    try:
        value = _value(kind, test["expected"])
    except ValueError:
        return {"errorCode": "PARSE_ERROR"}
    return {"variant": test["variation"], "value": value}


def _value(kind: str, text: str) -> Any:
    if kind == "string":
        return text
    if kind in {"int", "number"}:
        return int(text) if text.strip("+-").isdecimal() else _finite(float(text))
    value = json.loads(text)
    if kind == "boolean" and not isinstance(value, bool):
        raise ValueError(text)
    return value


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError(number)
    return number


def _agrees(got: Mapping[str, Any], expected: Mapping[str, Any], *, nobody: bool) -> bool:
    if nobody and got.get("errorCode") == "TARGETING_KEY_MISSING":
        return True
    return all(
        got.get(name) == value and type(got.get(name)) is type(value) for name, value in expected.items()
    )


async def _flags(wire: Wire, context: Mapping[str, Any]) -> dict[str, Any]:
    return {one["key"]: one for one in (await _post(wire, BULK, context))["flags"]}


async def _post(wire: Wire, path: str, context: Mapping[str, Any]) -> dict[str, Any]:
    await wire.send(message("POST", path, HEADERS, json.dumps({"context": context}).encode()))
    answer: dict[str, Any] = (await wire.response()).json()
    return answer
