"""The OpenAPI document, generated from the declarations of the API."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec

from ff_proxy.admin.api import Operation, Problem

_REF: Final = "#/components/schemas/{name}"


def openapi(operations: Sequence[Operation], version: str) -> bytes:
    """The OpenAPI 3.1 document of ``operations`` as JSON."""
    types = [one.result for one in operations if one.result is not None]
    types += [one.body for one in operations if one.body is not None]
    schemas, components = msgspec.json.schema_components(
        [*types, Problem], ref_template=_REF, schema_hook=_any_value
    )
    schema_of = dict(zip(map(id, types), schemas, strict=False))
    problem = schemas[-1]
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, schema_of, problem)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "ff-proxy admin API",
                "version": version,
                "description": "The data and health of this relay proxy. Times are in seconds since 1970.",
            },
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {
                    "bearer": {"type": "http", "scheme": "bearer"},
                    "basic": {"type": "http", "scheme": "basic"},
                },
            },
            "security": [{"bearer": []}, {"basic": []}, {}],
        }
    )


def _any_value(_: type) -> dict[str, Any]:
    """The schema of a value that may be any JSON, such as a target's attributes."""
    return {"description": "Any JSON value"}


def _operation(one: Operation, schema_of: dict[int, Any], problem: Any) -> dict[str, Any]:
    content: dict[str, Any] = {"application/gzip": {"schema": {"type": "string", "format": "binary"}}}
    if one.result is not None:
        content = {"application/json": {"schema": schema_of[id(one.result)]}}
    in_path = [part.partition("}")[0] for part in one.path.split("{")[1:]]
    described: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.summary,
        "parameters": [
            *(
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in in_path
            ),
            *(
                {"name": name, "in": "query", "description": meaning, "schema": {"type": "string"}}
                for name, meaning in one.query.items()
            ),
        ],
        "responses": {
            "200": {"description": "OK", "content": content},
            **{
                str(code): {
                    "description": HTTPStatus(code).phrase,
                    "content": {
                        "application/json": {
                            # A failed reload returns its own record, which lists the problems.
                            "schema": schema_of[id(one.result)] if code == HTTPStatus.CONFLICT else problem
                        }
                    },
                }
                for code in (*one.errors, 401, 403, 429)
            },
        },
    }
    if one.body is not None:
        body = {"application/json": {"schema": schema_of[id(one.body)]}}
        described["requestBody"] = {"required": True, "content": body}
    return described
