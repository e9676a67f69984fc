"""The flags of an environment as other servers of OpenFeature's protocol read them.

Rules, target maps and percentages are taken over, target groups are written out in the rules that name them,
and prerequisites, which neither of the two has, are left out.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench.common.environments import Made
from bench.generate import Doc

FLAGD: Final = "flagd.json"
GO_FEATURE_FLAG: Final = "go-feature-flag.json"


def write_peer_flags(directory: Path, made: Made) -> None:
    """Write ``flagd.json`` and ``go-feature-flag.json`` into a directory."""
    docs = made.docs()
    groups = {group["identifier"]: group for group in docs["segments"]}
    flagd = {flag["feature"]: _flagd(flag, groups) for flag in docs["flags"]}
    go = {flag["feature"]: _go_feature_flag(flag, groups) for flag in docs["flags"]}
    (directory / FLAGD).write_text(json.dumps({"flags": flagd}), encoding="utf-8")
    (directory / GO_FEATURE_FLAG).write_text(json.dumps(go), encoding="utf-8")


def _variants(flag: Doc) -> dict[str, Any]:
    return {
        one["identifier"]: one["value"] if flag["kind"] == "string" else json.loads(one["value"])
        for one in flag["variations"]
    }


def _shares(serve: Doc) -> dict[str, int]:
    return {one["variation"]: one["weight"] for one in serve["distribution"]["variations"]}


# --- flagd: JSON logic


def _flagd(flag: Doc, groups: Mapping[str, Doc]) -> Doc:
    named = [name["identifier"] for entry in flag["variationToTargetMap"] for name in entry["targets"]]
    steps: list[Any] = [_one_of("targetingKey", named), flag["variationToTargetMap"][0]["variation"]]
    for rule in flag["rules"]:
        steps += [
            {"and": [_logic(clause, groups) for clause in rule["clauses"]]},
            _logic_serve(rule["serve"]),
        ]
    return {
        "state": "ENABLED" if flag["state"] == "on" else "DISABLED",
        "variants": _variants(flag),
        "defaultVariant": flag["offVariation"],
        "targeting": {"if": [*steps, _logic_serve(flag["defaultServe"])]},
    }


def _logic_serve(serve: Doc) -> Any:
    if "variation" in serve:
        return serve["variation"]
    return {
        "fractional": [{"var": "targetingKey"}, *([name, share] for name, share in _shares(serve).items())]
    }


def _logic(clause: Doc, groups: Mapping[str, Doc]) -> Doc:
    if clause["op"] == "segmentMatch":
        return {"or": [_logic_group(groups[name], groups) for name in clause["values"]]}
    attribute, values = {"var": clause["attribute"]}, clause["values"]
    made: Mapping[str, Callable[[], Doc]] = {
        "starts_with": lambda: {"starts_with": [attribute, values[0]]},
        "ends_with": lambda: {"ends_with": [attribute, values[0]]},
        "contains": lambda: {"in": [values[0], attribute]},
        "in": lambda: _one_of(clause["attribute"], values),
    }
    return made[clause["op"]]() if clause["op"] in made else {"==": [attribute, values[0]]}


def _logic_group(group: Doc, groups: Mapping[str, Doc]) -> Doc:
    rules: list[Doc] = [_logic(clause, groups) for clause in group.get("rules", ())]
    rules += [
        {"and": [_logic(clause, groups) for clause in rule["clauses"]]}
        for rule in group.get("servingRules", ())
    ]
    included, excluded = (_one_of("targetingKey", _names(group[which])) for which in ("included", "excluded"))
    return {"and": [{"!": [excluded]}, {"or": [included, *rules]}]}


def _one_of(attribute: str, values: Sequence[str]) -> Doc:
    return {"in": [{"var": attribute}, list(values)]}


def _names(members: Sequence[Doc]) -> list[str]:
    return [member["identifier"] for member in members]


# --- GO Feature Flag: queries


def _go_feature_flag(flag: Doc, groups: Mapping[str, Doc]) -> Doc:
    mapped = flag["variationToTargetMap"][0]
    targeting = [
        {"query": _in("targetingKey", _names(mapped["targets"])), "variation": mapped["variation"]},
        *(
            {"query": _both(_query(clause, groups) for clause in rule["clauses"]), **_go_serve(rule["serve"])}
            for rule in flag["rules"]
        ),
    ]
    return {
        "variations": _variants(flag),
        "targeting": targeting,
        "defaultRule": _go_serve(flag["defaultServe"]),
        "disable": flag["state"] != "on",
    }


def _go_serve(serve: Doc) -> Doc:
    if "variation" in serve:
        return {"variation": serve["variation"]}
    return {"percentage": _shares(serve)}


def _query(clause: Doc, groups: Mapping[str, Doc]) -> str:
    if clause["op"] == "segmentMatch":
        return _either(_query_group(groups[name], groups) for name in clause["values"])
    if clause["op"] == "in":
        return _in(clause["attribute"], clause["values"])
    word = {"starts_with": "sw", "ends_with": "ew", "contains": "co"}.get(clause["op"], "eq")
    return f"{clause['attribute']} {word} {json.dumps(clause['values'][0])}"


def _query_group(group: Doc, groups: Mapping[str, Doc]) -> str:
    rules = [_query(clause, groups) for clause in group.get("rules", ())]
    rules += [
        _both(_query(clause, groups) for clause in rule["clauses"]) for rule in group.get("servingRules", ())
    ]
    wanted = _either([_in("targetingKey", _names(group["included"])), *rules])
    return f"(not ({_in('targetingKey', _names(group['excluded']))}) and {wanted})"


def _in(attribute: str, values: Sequence[str]) -> str:
    return f"{attribute} in {json.dumps(list(values))}"


def _both(queries: Iterable[str]) -> str:
    return f"({' and '.join(queries)})"


def _either(queries: Iterable[str]) -> str:
    return f"({' or '.join(queries)})"
