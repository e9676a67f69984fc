"""YAML with JSON's types.

YAML's usual types surprise authors of flags: ``state: on`` is a boolean, and a date is a date. Here a plain
scalar is null, a boolean or a number only if it is written as in JSON, and the format's text fields
(``identifier: true``) stay text.
"""

import math
import re
from typing import Final

import yaml

from ff_proxy.wire.offline import TEXT_FIELDS, TEXT_LISTS, USER_FIELD

_STRING_TAG: Final = "tag:yaml.org,2002:str"
_MERGE_KEY: Final = "<<"
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_MAX_NUMBER_LENGTH: Final = 100
_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_NUMBER: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")


class YamlValues:
    """Converts YAML nodes to JSON values.

    ``duplicates`` are names that occur twice in a mapping, with line and column from 0.

    Args:
        max_nodes: the maximum number of nodes, counting aliases.
    """

    def __init__(self, max_nodes: int) -> None:
        self.duplicates: list[tuple[int, int, str]] = []
        self._max_nodes = max_nodes
        self._nodes = 0

    def of(self, node: yaml.Node) -> object:
        """Convert a node to a JSON value; entries of a text list become text.

        Raises ``RecursionError`` if it contains itself, ``ValueError`` if its aliases make it too large.
        """
        return self._value(node, is_user_data=False, as_text=isinstance(node, yaml.SequenceNode))

    def _value(self, node: yaml.Node, *, is_user_data: bool, as_text: bool = False) -> object:
        self._nodes += 1
        if self._nodes > self._max_nodes:
            raise ValueError("its aliases make it too large")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, is_user_data=is_user_data)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(entry, is_user_data=is_user_data, as_text=as_text) for entry in node.value]
        return _scalar(node, as_text=as_text)

    def _mapping(self, node: yaml.MappingNode, *, is_user_data: bool) -> dict[str, object]:
        merged: dict[str, object] = {}
        merge_values: dict[str, object] = {}
        for key, value in node.value:
            name = str(key.value)
            if name == _MERGE_KEY:
                sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for source in sources:
                    read = self._value(source, is_user_data=is_user_data)
                    merged = (read if isinstance(read, dict) else {}) | merged
                continue
            if name in merge_values:
                self.duplicates.append((key.start_mark.line, key.start_mark.column, name))
            is_list = isinstance(value, yaml.SequenceNode)
            as_text = not is_user_data and (name in TEXT_LISTS or (name in TEXT_FIELDS and not is_list))
            merge_values[name] = self._value(
                value, is_user_data=is_user_data or name == USER_FIELD, as_text=as_text
            )
        return merged | merge_values


def _scalar(node: yaml.Node, *, as_text: bool) -> object:
    text = str(node.value)
    plain = _is_plain(node)
    if plain and text in _NULLS:
        return None
    if as_text or not plain:
        return text
    return _BOOLEANS[text] if text in _BOOLEANS else _number(text)


def _number(text: str) -> object:
    """The text as a JSON number, or unchanged."""
    if len(text) > _MAX_NUMBER_LENGTH:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    number = float(text) if _NUMBER.fullmatch(text) else math.inf
    return number if math.isfinite(number) else text


def _is_plain(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and not node.style and node.tag != _STRING_TAG
