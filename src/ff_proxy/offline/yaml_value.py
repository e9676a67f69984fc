"""YAML as JSON would have it.

YAML's usual reading is full of surprises for flags: ``state: on`` is a boolean there, and a date is a
date. Here a plain scalar is null, a boolean or a number only if it is written as in JSON, and fields of
the format that are text (``identifier: true``) stay text.
"""

import re
from typing import Final

import yaml

from ff_proxy.wire.offline import FREE_FIELD, TEXT_FIELDS

_STRING_TAG: Final = "tag:yaml.org,2002:str"
_MERGE_KEY: Final = "<<"
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_NUMBER: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")


def to_json(node: yaml.Node) -> object:
    """A node of YAML's tree → a JSON value; raises ``RecursionError`` if it holds itself."""
    return _value(node, free=False)


def _value(node: yaml.Node, *, free: bool) -> object:
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, free=free)
    if isinstance(node, yaml.SequenceNode):
        return [_value(entry, free=free) for entry in node.value]
    return _scalar(node)


def _mapping(node: yaml.MappingNode, *, free: bool) -> dict[str, object]:
    merged: dict[str, object] = {}
    own: dict[str, object] = {}
    for key, value in node.value:
        name = str(key.value)
        if name == _MERGE_KEY:
            sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
            for source in sources:
                read = _value(source, free=free)
                merged = (read if isinstance(read, dict) else {}) | merged
        elif isinstance(value, yaml.ScalarNode) and name in TEXT_FIELDS and not free:
            own[name] = None if _is_null(value) else value.value
        else:
            own[name] = _value(value, free=free or name == FREE_FIELD)
    return merged | own


def _scalar(node: yaml.Node) -> object:
    text = str(node.value)
    if not _is_plain(node):
        return text
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


def _is_null(node: yaml.ScalarNode) -> bool:
    return _is_plain(node) and node.value in _NULLS


def _is_plain(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and not node.style and node.tag != _STRING_TAG
