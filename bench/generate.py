"""Environments for measuring, made up from a seed: the same seed always makes the same environment.

    python bench/generate.py --flags 1000 > environment.json

prints one in the format of the evaluation vectors (flags, segments and targets as servers send them).
"""

import argparse
import json
import random
from typing import Any

Doc = dict[str, Any]

_ATTRIBUTES = {
    "plan": ["free", "team", "business", "enterprise"],
    "country": ["DE", "FR", "US", "BR", "JP", "IN", "KE", "AU"],
    "version": [f"{major}.{minor}" for major in range(1, 6) for minor in range(10)],
    "browser": ["Firefox", "Chrome", "Safari", "Edge"],
}
_DOMAINS = ["example.com", "example.org", "mail.example", "corp.example"]
_KINDS = {
    "boolean": ["true", "false", "false"],
    "string": ["classic", "modern", "experimental"],
    "int": ["10", "50", "250"],
    "json": ['{"rows":10}', '{"rows":50,"dense":true}', '{"rows":250,"tags":["a","b"]}'],
}
_VARIATIONS = ("one", "two", "three")


def environment(
    seed: int = 1, *, flags: int = 100, rules: int = 5, segments: int = 20, targets: int = 50
) -> Doc:
    """An environment of ``flags`` flags with ``rules`` rules each, ``segments`` segments and ``targets``."""
    maker = _Maker(random.Random(seed), segments)
    return {
        "meta": {"seed": seed},
        "flags": [maker.flag(number, rules) for number in range(flags)],
        "segments": [maker.segment(number) for number in range(segments)],
        "targets": [maker.target(number) for number in range(targets)],
        "tests": [],
    }


class _Maker:
    def __init__(self, chance: random.Random, segments: int) -> None:
        self._chance = chance
        self._segments = [f"segment-{number}" for number in range(segments)]

    def flag(self, number: int, rules: int) -> Doc:
        kind, values = self._chance.choice(list(_KINDS.items()))
        doc: Doc = {
            "feature": f"feature-{number}",
            "project": "bench",
            "environment": "bench",
            "kind": kind,
            "state": "on" if self._chance.random() < 0.9 else "off",
            "offVariation": _VARIATIONS[0],
            "variations": [
                {"identifier": name, "name": name, "value": value}
                for name, value in zip(_VARIATIONS, values, strict=True)
            ],
            "defaultServe": self._serve(),
            "rules": [
                {
                    "ruleId": f"rule-{priority}",
                    "priority": priority,
                    "clauses": [self._clause() for _ in range(self._chance.choice((1, 1, 1, 2)))],
                    "serve": self._serve(),
                }
                for priority in range(rules)
            ],
            "variationToTargetMap": [
                {"variation": self._chance.choice(_VARIATIONS), "targets": self._members(5)}
            ],
            "version": 1,
        }
        if number and self._chance.random() < 0.1:
            needed = f"feature-{self._chance.randrange(number)}"
            doc["prerequisites"] = [{"feature": needed, "variations": list(_VARIATIONS[:2])}]
        return doc

    def segment(self, number: int) -> Doc:
        doc: Doc = {
            "identifier": self._segments[number],
            "name": self._segments[number],
            "environment": "bench",
            "included": self._members(10),
            "excluded": self._members(5),
            "version": 1,
        }
        if number % 2:
            doc["rules"] = [self._plain_clause() for _ in range(3)]
        else:
            doc["servingRules"] = [
                {
                    "ruleId": f"rule-{priority}",
                    "priority": priority,
                    "clauses": [self._plain_clause(), self._plain_clause()],
                }
                for priority in range(3)
            ]
        return doc

    def target(self, number: int) -> Doc:
        attributes: Doc = {name: self._chance.choice(values) for name, values in _ATTRIBUTES.items()}
        attributes["email"] = f"user-{number}@{self._chance.choice(_DOMAINS)}"
        attributes["age"] = self._chance.randrange(18, 90)
        return {"identifier": f"user-{number}", "name": f"User {number}", "attributes": attributes}

    def _members(self, count: int) -> list[Doc]:
        names = [f"user-{self._chance.randrange(1000)}" for _ in range(count)]
        empty = {"account": "", "org": "", "environment": "", "project": ""}
        return [{"identifier": name, "name": name} | empty for name in names]

    def _serve(self) -> Doc:
        if self._chance.random() < 0.7:
            return {"variation": self._chance.choice(_VARIATIONS)}
        shares = zip(_VARIATIONS, (30, 30, 40), strict=True)
        return {
            "distribution": {
                "bucketBy": "identifier",
                "variations": [{"variation": name, "weight": weight} for name, weight in shares],
            }
        }

    def _clause(self) -> Doc:
        if self._segments and self._chance.random() < 0.5:
            named = self._chance.sample(
                self._segments, min(len(self._segments), self._chance.choice((1, 1, 2)))
            )
            return {"id": "c", "attribute": "", "op": "segmentMatch", "values": named, "negate": False}
        return self._plain_clause()

    def _plain_clause(self) -> Doc:
        op = self._chance.choice(["equal", "equal_sensitive", "starts_with", "ends_with", "contains", "in"])
        if self._chance.random() < 0.3:
            attribute, value = "email", f"user-{self._chance.randrange(1000)}@{self._chance.choice(_DOMAINS)}"
        else:
            attribute, known = self._chance.choice(list(_ATTRIBUTES.items()))
            value = self._chance.choice(known)
        part = {"starts_with": value[:3], "ends_with": value[-3:], "contains": value[1:4] or value}.get(
            op, value
        )
        values = [part] if op != "in" else [part, *(f"other-{number}" for number in range(9))]
        return {"id": "c", "attribute": attribute, "op": op, "values": values, "negate": False}


def main() -> None:
    """Print an environment."""
    parser = argparse.ArgumentParser(description="print an environment for measuring")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--flags", type=int, default=100)
    parser.add_argument("--rules", type=int, default=5)
    parser.add_argument("--segments", type=int, default=20)
    parser.add_argument("--targets", type=int, default=50)
    options = vars(parser.parse_args())
    print(json.dumps(environment(options.pop("seed"), **options)))


if __name__ == "__main__":
    main()
