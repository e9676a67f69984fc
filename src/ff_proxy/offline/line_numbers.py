"""Finding the line numbers of entries in a file, for problem reports."""

from collections.abc import Sequence
from typing import Final

import yaml

from ff_proxy.offline.document import entries_of_json, yaml_root

_MAX_TREE_BYTES: Final = 2**20
_MAX_LOOKUPS: Final = 200


class LineNumbers:
    """Line numbers of entries, and of values inside them, in a valid file.

    Finding a line is slow, so only the first few hundred lookups are answered; others have no line.
    """

    def __init__(self, data: bytes, *, is_yaml: bool) -> None:
        self._text = data.decode("utf-8-sig", "replace")
        self._is_yaml = is_yaml
        self._lookups = 0
        self._entries: Sequence[tuple[int, int]] | None = None
        self._root: yaml.Node | None = None

    def line(self, entry: int, path: Sequence[str | int] = ()) -> int | None:
        """The line, from 1, of ``path`` in an entry, or of the value around it if it is absent."""
        self._lookups += 1
        if self._lookups > _MAX_LOOKUPS:
            return None
        try:
            return self._in_yaml(entry, path) if self._is_yaml else self._in_json(entry, path)
        except (yaml.YAMLError, ValueError, IndexError, RecursionError):
            return None

    def _in_yaml(self, entry: int, path: Sequence[str | int]) -> int | None:
        if len(self._text) > _MAX_TREE_BYTES:
            return None
        if self._root is None:
            self._root = yaml_root(self._text)
        return None if self._root is None else _line(self._root, (entry, *path)) + 1

    def _in_json(self, entry: int, path: Sequence[str | int]) -> int:
        if self._entries is None:
            self._entries = entries_of_json(self._text)
        start, end = self._entries[entry]
        first = self._text.count("\n", 0, start) + 1
        if not path or end - start > _MAX_TREE_BYTES:
            return first
        # JSON is YAML, and the YAML parser records positions.
        root = yaml_root(self._text[start:end].replace("\t", " "))
        return first if root is None else first + _line(root, path)


def _line(node: yaml.Node, path: Sequence[str | int]) -> int:
    line = node.start_mark.line
    for step in path:
        found = _step(node, step)
        if found is None:
            break
        line, node = found
    return int(line)


def _step(node: yaml.Node, step: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step].start_mark.line, node.value[step]
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == step:
                return key.start_mark.line, value
    return None
