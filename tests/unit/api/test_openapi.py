"""The OpenAPI document of the SDK port describes every route, and nothing else."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import jsonschema_rs
import pytest

from ff_proxy.api.openapi import openapi, openapi_json
from ff_proxy.http.routes import Route
from tests.support.web import Site, serving

DOCUMENT: Final = openapi("1.2.3")
OPERATIONS: Final = [
    (method.upper(), path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]


def references(part: Any) -> Iterator[str]:
    """Every ``$ref`` in the document."""
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"]
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from references(inner)


def resolved(part: Any) -> Any:
    """What a reference leads to."""
    while "$ref" in part:
        found: Any = DOCUMENT
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part


def path_of(route: Route) -> str:
    """A route's template as the document writes it."""
    return route.template.replace("...}", "}")


@pytest.fixture
async def routes() -> AsyncIterator[list[Route]]:
    """The route table."""
    async with serving(Site()) as site:
        yield site.routes


async def test_every_route_is_described_and_nothing_else(routes: list[Route]) -> None:
    """A new route must be described in ``api/openapi.yaml``."""
    known = {(route.method, path_of(route)) for route in routes}
    assert {(method, path) for method, path, _ in OPERATIONS} == known


async def test_the_headers_of_a_route_are_those_it_declares(routes: list[Route]) -> None:
    """And ``If-None-Match`` is one where there is an ``ETag``."""
    described = {(method, path): operation for method, path, operation in OPERATIONS}
    for route in routes:
        operation = described[route.method, path_of(route)]
        parameters = [resolved(one) for one in operation.get("parameters", ())]
        headers = {one["name"].lower().encode() for one in parameters if one["in"] == "header"}
        assert headers <= set(route.headers), route.template
        assert (b"if-none-match" in headers) == ("304" in operation["responses"]), route.template


def test_path_parameters_are_described() -> None:
    """All of them, and no others."""
    for _, path, operation in OPERATIONS:
        parameters = [resolved(one) for one in operation.get("parameters", ())]
        assert {one["name"] for one in parameters if one["in"] == "path"} == set(re.findall(r"{(\w+)}", path))
        assert all(one["required"] for one in parameters if one["in"] == "path")


def test_every_operation_has_a_name_a_tag_and_an_answer() -> None:
    """Names are different, tags and ways to authenticate are declared."""
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(names)) == len(names)
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    schemes = set(DOCUMENT["components"]["securitySchemes"])
    for _, path, operation in OPERATIONS:
        assert set(operation["tags"]) <= tags
        assert operation["summary"]
        assert "200" in operation["responses"], path
        assert {name for way in operation["security"] for name in way} <= schemes


def test_every_reference_leads_somewhere_and_every_component_is_used() -> None:
    """Schemas of events are named in texts only, since OpenAPI cannot describe a stream."""
    used = set(references(DOCUMENT))
    for reference in used:
        resolved({"$ref": reference})
    declared = {
        f"#/components/{kind}/{name}"
        for kind, components in DOCUMENT["components"].items()
        if kind != "securitySchemes"
        for name in components
    }
    in_texts = {f"#/components/schemas/{name}" for name in ("Change", "RefetchEvaluation")}
    assert declared - in_texts == used


@pytest.mark.parametrize("name", sorted(DOCUMENT["components"]["schemas"]))
def test_schemas_are_valid(name: str) -> None:
    """In the dialect of OpenAPI 3.1."""
    jsonschema_rs.meta.validate(DOCUMENT["components"]["schemas"][name])


def test_it_has_the_version() -> None:
    """In the JSON form too."""
    assert json.loads(openapi_json("4.5.6"))["info"]["version"] == "4.5.6"
