"""The environment that the SDKs are shown, as SaaS would describe it, and what each target must get from it.

It holds to what all SDKs evaluate alike: one clause per rule, no operator that an SDK lacks.
"""

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Document = dict[str, Any]
"""A flag, a target group or a target as it travels: JSON read into Python."""

ORGANISATION = "default"
PROJECT = "shop"
ENVIRONMENT = "production"


def target(identifier: str, name: str, **attributes: Any) -> Document:
    """A target as an application describes it to its SDK."""
    return {"identifier": identifier, "name": name, "attributes": attributes}


ALICE = target("alice", "Alice", plan="gold", email="alice@example.test")
BOB = target("bob", "Bob", plan="free", email="bob@example.test")
CAROL = target("carol", "Carol", plan="free", email="carol@example.test")
DAVE = target("dave", "Dave", plan="free", email="dave@beta.test")
ERIN = target("team/erin@beta.test", "Erin", plan="free", email="erin@beta.test")
ZOE = target("zoë", "Zoë Żółć", plan="gold", email="zoe@example.test")
TARGETS = (ALICE, BOB, CAROL, DAVE, ERIN, ZOE)


def visitor(sdk: str) -> Document:
    """A target that only this SDK evaluates: SaaS can hear of it from nobody else."""
    return target(f"visitor-{sdk}", "A visitor", browser=sdk)


STREAMED = "streamed"
GROUPED = "grouped"
DOOMED = "doomed"
NEWBORN = "newborn"
POLLED = "polled"
RESUMED = "resumed"
RESTARTED = "restarted"
RELIVED = "relived"
COUNTED = "counted"
CROWD = "crowd"

SMALL_LIMITS = {"requests": 100, "regions": ["eu", "us"], "nested": {"on": True, "label": "Größe ✓"}}
LARGE_LIMITS = {"requests": 1000, "regions": [], "nested": {}}


def flag(identifier: str, kind: str, variations: Mapping[str, str], **fields: Any) -> Document:
    """A flag that serves its first variation when on and its last when off, unless `fields` say otherwise."""
    names = list(variations)
    return {
        "project": PROJECT,
        "environment": ENVIRONMENT,
        "feature": identifier,
        "state": "on",
        "kind": kind,
        "variations": [
            {"identifier": name, "name": name, "value": value} for name, value in variations.items()
        ],
        "defaultServe": {"variation": names[0]},
        "offVariation": names[-1],
        "rules": [],
        "prerequisites": [],
        "variationToTargetMap": [],
        "version": 1,
        **fields,
    }


def switch(identifier: str, **fields: Any) -> Document:
    """A boolean flag: true when on, false when off."""
    return flag(identifier, "boolean", {"true": "true", "false": "false"}, **fields)


def clause(attribute: str, operator: str, *values: str) -> Document:
    """A condition of a rule or a target group."""
    return {"attribute": attribute, "op": operator, "values": list(values), "negate": False}


def rule(variation: str, condition: Document) -> Document:
    """A rule of a flag."""
    return {
        "ruleId": f"to-{variation}",
        "priority": 1,
        "clauses": [condition],
        "serve": {"variation": variation},
    }


def group(
    identifier: str,
    *,
    included: Sequence[Document] = (),
    excluded: Sequence[Document] = (),
    condition: Document | None = None,
    version: int = 1,
) -> Document:
    """A target group, its condition in both the old and the new form."""
    serving = [{"ruleId": "r1", "priority": 1, "clauses": [condition]}] if condition else []
    return {
        "identifier": identifier,
        "name": identifier,
        "environment": ENVIRONMENT,
        "createdAt": 1700000000000,
        "modifiedAt": 1700000000000,
        "tags": [],
        "included": [_member(one) for one in included],
        "excluded": [_member(one) for one in excluded],
        "rules": [condition] if condition else [],
        "servingRules": serving,
        "version": version,
    }


def _member(one: Document) -> Document:
    home = {"account": "acme", "org": ORGANISATION, "project": PROJECT, "environment": ENVIRONMENT}
    return {"identifier": one["identifier"], "name": one["name"], **home}


def _bucket(variation: str, weight: int) -> Document:
    return {"variation": variation, "weight": weight}


def _map_entry(variation: str, *, targets: Sequence[Document] = (), segments: Sequence[str] = ()) -> Document:
    named = [{"identifier": one["identifier"], "name": one["name"]} for one in targets]
    return {"variation": variation, "targets": named, "targetSegments": list(segments)}


def crowd(*members: Document, version: int = 1) -> Document:
    """The target group that the tests change while SDKs listen."""
    return group(CROWD, included=members, version=version)


def newborn() -> Document:
    """A flag that is created while SDKs listen."""
    return switch(NEWBORN)


FLAGS: Sequence[Document] = (
    switch(
        "dark-mode",
        defaultServe={"variation": "false"},
        rules=[rule("true", clause("plan", "equal", "gold"))],
    ),
    flag(
        "banner",
        "string",
        {"plain": "Hello", "festive": "Frohe Feiertage ❄", "beta": "Welcome, tester"},
        variationToTargetMap=[
            _map_entry("festive", targets=[ALICE]),
            _map_entry("beta", segments=["beta"]),
        ],
    ),
    flag(
        "page-size",
        "int",
        {"small": "25", "large": "50"},
        defaultServe={
            "distribution": {
                "bucketBy": "identifier",
                "variations": [_bucket("small", 50), _bucket("large", 50)],
            }
        },
    ),
    flag("ratio", "int", {"quarter": "0.25", "half": "0.5"}),
    flag(
        "limits",
        "json",
        {"standard": json.dumps(SMALL_LIMITS), "large": json.dumps(LARGE_LIMITS, ensure_ascii=False)},
        rules=[rule("large", clause("", "segmentMatch", "beta"))],
    ),
    switch("checkout", prerequisites=[{"feature": "dark-mode", "variations": ["true"]}]),
    flag("old-banner", "string", {"shown": "Hello again", "retired": "Goodbye"}, state="off"),
    switch(STREAMED, state="off"),
    switch(POLLED, state="off"),
    switch(RESUMED, state="off"),
    switch(RESTARTED, state="off"),
    switch(RELIVED, state="off"),
    switch(COUNTED),
    switch(
        GROUPED, defaultServe={"variation": "false"}, rules=[rule("true", clause("", "segmentMatch", CROWD))]
    ),
    flag(DOOMED, "string", {"alive": "alive", "off": "off"}),
)

SEGMENTS: Sequence[Document] = (
    group("beta", included=[CAROL], excluded=[DAVE], condition=clause("email", "ends_with", "@beta.test")),
    crowd(),
)


@dataclass(frozen=True, slots=True)
class Question:
    """A variation that an application asks for."""

    kind: str
    flag: str
    answers: Mapping[str, Any]
    """What must come, by the target's identifier; the name "*" stands for all that are not named."""
    default: Any = None
    """What the application gives as default: nobody's answer. A boolean's is the opposite of its answer."""

    def answer(self, who: Mapping[str, Any]) -> Any:
        """What this target must get."""
        return self.answers.get(who["identifier"], self.answers["*"])

    def default_for(self, who: Mapping[str, Any]) -> Any:
        """The default that the application gives when it asks for this target."""
        return not self.answer(who) if self.kind == "boolean" else self.default


QUESTIONS: Sequence[Question] = (
    Question("boolean", "dark-mode", {"alice": True, "zoë": True, "*": False}),
    Question(
        "string",
        "banner",
        {
            "alice": "Frohe Feiertage ❄",
            "carol": "Welcome, tester",
            ERIN["identifier"]: "Welcome, tester",
            "*": "Hello",
        },
        default="default",
    ),
    # Buckets by MurmurHash3 of "identifier:<it>": alice 92, bob 54, carol 17, dave 45, erin 54, zoë 12.
    Question("int", "page-size", {"carol": 25, "dave": 25, "zoë": 25, "*": 50}, default=-1),
    Question("number", "ratio", {"*": 0.25}, default=-1.5),
    Question(
        "json",
        "limits",
        {"carol": LARGE_LIMITS, ERIN["identifier"]: LARGE_LIMITS, "*": SMALL_LIMITS},
        default={"default": True},
    ),
    Question("boolean", "checkout", {"alice": True, "zoë": True, "*": False}),
    Question("string", "old-banner", {"*": "Goodbye"}, default="default"),
    Question("string", "no-such-flag", {"*": "default"}, default="default"),
)


@dataclass(slots=True)
class Shop:
    """One environment's documents, to be changed in place: each change raises a version."""

    environment_id: str
    key: str
    flags: dict[str, Document] = field(
        default_factory=lambda: {document["feature"]: copy.deepcopy(document) for document in FLAGS}
    )
    segments: dict[str, Document] = field(
        default_factory=lambda: {document["identifier"]: copy.deepcopy(document) for document in SEGMENTS}
    )

    def turn_on(self, identifier: str) -> None:
        """Turn a flag on."""
        document = self.flags[identifier]
        document["state"] = "on"
        document["version"] += 1

    def write(self, directory: Path) -> None:
        """Lay the environment out as an offline directory has it, each file replaced as a whole."""
        files: Mapping[str, Any] = {
            "auth_config.json": [hashlib.sha256(self.key.encode()).hexdigest()],
            "feature_config.json": list(self.flags.values()),
            "segments.json": list(self.segments.values()),
            "targets.json": [],
        }
        folder = directory / f"env-{self.environment_id}"
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            text = json.dumps(content, indent=2, ensure_ascii=False)
            if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != text:
                fresh = folder / f".{name}.new"
                fresh.write_text(text, encoding="utf-8")
                fresh.replace(folder / name)
