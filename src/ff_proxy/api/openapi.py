"""The OpenAPI document of the SDK port. ``openapi.yaml`` beside this module is written by hand."""

from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
import yaml

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def openapi(version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document for that version of the proxy."""
    text = files(__package__).joinpath("openapi.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.load(text, _Loader)  # noqa: S506  (both loaders are safe ones)
    document["info"]["version"] = version
    return document


@cache
def openapi_json(version: str) -> bytes:
    """The same as JSON."""
    return msgspec.json.encode(openapi(version))
