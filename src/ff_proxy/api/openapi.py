"""The OpenAPI document of the SDK port. ``openapi.yaml`` beside this module is written by hand."""

from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
import yaml

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def openapi(version: str) -> dict[str, Any]:
    """OpenAPI 3.1 of the SDK port of a proxy of that version."""
    text = files(__package__).joinpath("openapi.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.load(text, _Loader)  # noqa: S506  (both loaders are safe ones)
    document["info"]["version"] = version
    return document


@cache
def openapi_json(version: str) -> bytes:
    """The same as JSON."""
    return msgspec.json.encode(openapi(version))
