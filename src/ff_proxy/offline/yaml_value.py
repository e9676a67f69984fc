"""YAML as JSON would have it.

YAML's usual reading is full of surprises for flags: ``state: on`` is a boolean there, and a date is a
date. Here a plain scalar is null, a boolean or a number only if it is written as in JSON, and fields of
the format that are text (``identifier: true``) stay text.
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
_LONGEST_NUMBER: Final = 100
_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_NUMBER: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")


class YamlValues:
    """Makes JSON values of the nodes of a YAML tree.

    ``twice`` tells names that a mapping has more than once, with line and column from 0.

    Args:
        most: how many nodes there may be, counted as often as they are referred to.
    """

    def __init__(self, most: int) -> None:
        self.twice: list[tuple[int, int, str]] = []
        self._most = most
        self._nodes = 0

    def of(self, node: yaml.Node) -> object:
        """A node → a JSON value, a list's entries as text.

        Raises ``RecursionError`` if it holds itself, ``ValueError`` if it is far larger than it looks.
        """
        return self._value(node, free=False, as_text=isinstance(node, yaml.SequenceNode))

    def _value(self, node: yaml.Node, *, free: bool, as_text: bool = False) -> object:
        self._nodes += 1
        if self._nodes > self._most:
            raise ValueError("its references make it too large")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, free=free)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(entry, free=free, as_text=as_text) for entry in node.value]
        return _scalar(node, as_text=as_text)

    def _mapping(self, node: yaml.MappingNode, *, free: bool) -> dict[str, object]:
        merged: dict[str, object] = {}
        own: dict[str, object] = {}
        for key, value in node.value:
            name = str(key.value)
            if name == _MERGE_KEY:
                sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for source in sources:
                    read = self._value(source, free=free)
                    merged = (read if isinstance(read, dict) else {}) | merged
                continue
            if name in own:
                self.twice.append((key.start_mark.line, key.start_mark.column, name))
            is_list = isinstance(value, yaml.SequenceNode)
            as_text = not free and (name in TEXT_LISTS or (name in TEXT_FIELDS and not is_list))
            own[name] = self._value(value, free=free or name == USER_FIELD, as_text=as_text)
        return merged | own


def _scalar(node: yaml.Node, *, as_text: bool) -> object:
    text = str(node.value)
    plain = _is_plain(node)
    if plain and text in _NULLS:
        return None
    if as_text or not plain:
        return text
    return _BOOLEANS[text] if text in _BOOLEANS else _number(text)


def _number(text: str) -> object:
    """The number that a text is in JSON, or the text."""
    if len(text) > _LONGEST_NUMBER:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    number = float(text) if _NUMBER.fullmatch(text) else math.inf
    return number if math.isfinite(number) else text


def _is_plain(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and not node.style and node.tag != _STRING_TAG
