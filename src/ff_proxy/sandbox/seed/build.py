"""Builders of flags, segments and targets in the form of Harness."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.sandbox.environment import Document, home
from ff_proxy.sandbox.keys import Key, known_key
from ff_proxy.sandbox.state import DEFAULT_ACCOUNT, DEFAULT_ORGANIZATION

_NAMESPACE: Final = uuid.UUID("5a4db0f0-0000-4000-8000-000000000000")
_WHEN: Final = 1_700_000_000_000

BOOLEAN: Final = {"true": "true", "false": "false"}
"""The variations of a boolean flag."""


def stable_id(*parts: str) -> str:
    """A UUID that is the same at every start."""
    return str(uuid.uuid5(_NAMESPACE, "/".join(parts)))


def identity(
    environment_id: str,
    identifier: str,
    project: str,
    *,
    cluster: str = "1",
    organization: str = DEFAULT_ORGANIZATION,
    account: str = DEFAULT_ACCOUNT,
) -> EnvironmentInfo:
    """An environment's identity; the ids that Harness would generate are derived from names."""
    return EnvironmentInfo(
        id=EnvironmentId(environment_id),
        identifier=identifier,
        project=stable_id("project", project),
        project_identifier=project,
        organization=stable_id("organization", organization),
        organization_identifier=organization,
        account=account,
        cluster=cluster,
    )


def keys(short_name: str) -> list[Key]:
    """A server and a client key: ``sandbox-<short name>-server-key`` and ``…-client-key``."""
    return [
        known_key(f"{short_name}_server", "Server", f"sandbox-{short_name}-server-key"),
        known_key(f"{short_name}_client", "Client", f"sandbox-{short_name}-client-key"),
    ]


def clause(attribute: str, op: str, *values: str) -> Document:
    """A condition on one attribute."""
    return {
        "id": stable_id("clause", attribute, op, *values),
        "attribute": attribute,
        "op": op,
        "values": list(values),
        "negate": False,
    }


def in_group(*segments: str) -> Document:
    """A condition that holds for members of one of the groups."""
    return clause("", "segmentMatch", *segments)


def serve(variation: str) -> Document:
    """Serve one variation."""
    return {"variation": variation}


def rollout(bucket_by: str, **weights: int) -> Document:
    """Serve variations by percentage over an attribute."""
    shares = [{"variation": variation, "weight": weight} for variation, weight in weights.items()]
    return {"distribution": {"bucketBy": bucket_by, "variations": shares}}


def rule(priority: int, served: Document, *clauses: Document) -> Document:
    """A flag's rule: if every condition holds, serve."""
    return {
        "ruleId": stable_id("rule", str(priority), *(part["id"] for part in clauses)),
        "priority": priority,
        "clauses": list(clauses),
        "serve": served,
    }


def given_to(variation: str, *, targets: Sequence[str] = (), groups: Sequence[str] = ()) -> Document:
    """A variation for certain targets and groups, whatever the rules say."""
    return {
        "variation": variation,
        "targets": [{"identifier": target, "name": target.title()} for target in targets],
        "targetSegments": list(groups),
    }


def needs(flag: str, *variations: str) -> Document:
    """Another flag that must yield one of these variations."""
    return {"feature": flag, "variations": list(variations)}


def flag(
    info: EnvironmentInfo,
    identifier: str,
    kind: str,
    variations: Mapping[str, str],
    *,
    off: str,
    default: Document,
    **parts: Any,
) -> Document:
    """A flag that is on; ``parts`` are further fields by their names on the wire."""
    return {
        "project": info.project_identifier,
        "environment": info.identifier,
        "feature": identifier,
        "state": "on",
        "kind": kind,
        "variations": [
            {"identifier": name, "name": name.replace("_", " ").title(), "value": value}
            for name, value in variations.items()
        ],
        "offVariation": off,
        "defaultServe": default,
        "rules": [],
        "prerequisites": [],
        "variationToTargetMap": [],
        "version": 1,
        **parts,
    }


def group(
    info: EnvironmentInfo,
    identifier: str,
    name: str,
    *,
    included: Sequence[str] = (),
    excluded: Sequence[str] = (),
    rules: Sequence[Document] = (),
    serving_rules: Sequence[Sequence[Document]] = (),
) -> Document:
    """A target group in both forms: ``rules`` (any condition) and ``serving_rules`` (all of one entry).

    Without ``serving_rules`` each rule becomes an entry of its own, which is equivalent.
    """
    entries = serving_rules or [[condition] for condition in rules]
    return {
        "identifier": identifier,
        "name": name,
        "environment": info.identifier,
        "createdAt": _WHEN,
        "modifiedAt": _WHEN,
        "tags": [],
        "included": [_member(info, target) for target in included],
        "excluded": [_member(info, target) for target in excluded],
        "rules": list(rules),
        "servingRules": [
            {
                "ruleId": stable_id("group", identifier, str(number)),
                "priority": number,
                "clauses": list(conditions),
            }
            for number, conditions in enumerate(entries, start=1)
        ],
        "version": 1,
    }


def target(identifier: str, name: str, **attributes: Any) -> Document:
    """A target as the admin API lists it."""
    return {
        "identifier": identifier,
        "name": name,
        "anonymous": False,
        "attributes": attributes,
        "createdAt": _WHEN,
        "segments": [],
    }


def _member(info: EnvironmentInfo, identifier: str) -> Document:
    return {"identifier": identifier, "name": identifier.title(), **home(info)}
