"""Writes docs/api.md from the OpenAPI document of the SDK port, or with --check says if it is out of date."""

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ff_proxy.api.openapi import openapi

PAGE = Path(__file__).parents[1] / "docs/api.md"
HEAD = """\
# The SDK port

Made by `make docs` from the OpenAPI document ([source](../src/ff_proxy/api/openapi.yaml)), which the
[admin address](admin.md) serves as `/openapi.json`; that of the admin API is `/api/openapi.json` there. Tests
hold both documents to the route table and to what a running proxy answers.
"""


def as_markdown(document: dict[str, Any]) -> str:
    """The page."""
    about = textwrap.fill(document["info"]["description"], 120)
    return "\n".join([HEAD, about, *_sections(document)]) + "\n"


def _sections(document: dict[str, Any]) -> Iterator[str]:
    for tag in document["tags"]:
        yield f"\n## {tag['name']}\n\n{tag['description']}"
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if tag["name"] in operation["tags"]:
                    yield from _operation(document, f"{method.upper()} {path}", operation)


def _operation(document: dict[str, Any], title: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"\n### `{title}`\n\n{operation['summary']}. {operation.get('description', '')}".rstrip()
    yield f"\n| | |\n|---|---|\n| key | {_key(document, operation)} |"
    for one in operation.get("parameters", ()):
        parameter = _resolved(document, one)
        yield f"| {parameter['in']} `{parameter['name']}` | {_text(parameter)} |"
    if "requestBody" in operation:
        body = _resolved(document, operation["requestBody"])
        (content,) = body["content"].values()
        described = f"{body['description']}: " if "description" in body else ""
        yield f"| body | {described}`{content['schema']['$ref'].rpartition('/')[2]}` |"
    for status, one in operation["responses"].items():
        yield f"| {status} | {_text(_resolved(document, one))} |"


def _key(document: dict[str, Any], operation: dict[str, Any]) -> str:
    schemes = document["components"]["securitySchemes"]
    ways = [" and ".join(_scheme(schemes[name]) for name in way) for way in operation["security"]]
    return ", or ".join(ways) or "none"


def _scheme(scheme: dict[str, Any]) -> str:
    place = "`Authorization: Bearer`" if scheme["type"] == "http" else f"{scheme['in']} `{scheme['name']}`"
    return f"{place} ({_lower(scheme['description'])})"


def _text(part: dict[str, Any]) -> str:
    return str(part["description"]).replace("|", "\\|")


def _lower(text: str) -> str:
    return text[0].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def _resolved(document: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in part:
        return part
    _, _, kind, name = part["$ref"].split("/")
    found: dict[str, Any] = document["components"][kind][name]
    return found


def main(arguments: list[str]) -> int:
    """Exit code 1 if ``--check`` finds the page to be out of date."""
    text = as_markdown(openapi(""))
    if arguments != ["--check"]:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write("docs/api.md is out of date: run make docs, and commit it\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
