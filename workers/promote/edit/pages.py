"""A file as its parser sees it, with the place of everything in it; ways through its nodes. Pure.

Marks count characters after the byte order mark; aliases are the node that they name, so what is edited there is edited once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from windlass.yamls import PLAIN, YamlError, load_all

BOM = b"\xef\xbb\xbf"


class Document(NamedTuple):
    value: Any
    node: Node


class Page:
    """One file."""

    def __init__(self, path: str, data: bytes) -> None:
        """
        :raises YamlError: it can't be read, or is larger than a file may be.
        """
        self.path, self.data = path, data
        self.documents = [Document(parsed.value, parsed.node) for parsed in load_all(data)]
        self._known = 0, len(BOM) if data.startswith(BOM) else 0
        try:
            self.text = data.removeprefix(BOM).decode()
        except UnicodeDecodeError:
            raise YamlError("not UTF-8", 1) from None

    def offset(self, index: int) -> int:
        """The place in the file's bytes of a character of ``text``. Quick if asked in the order of the file."""
        known, offset = self._known if self._known[0] <= index else (0, self.data.startswith(BOM) * len(BOM))
        self._known = index, offset + len(self.text[known:index].encode())
        return self._known[1]


class Found(NamedTuple):
    """A pair of a mapping: its number there, from 0 (None if a merge brought it), and its value."""

    place: int | None
    value: Node


def lookup(node: Node, key: str) -> Found | None:
    """The value of ``key``, also if ``<<`` brings it."""
    return _lookup(node, key, set())


def _lookup(node: Node, key: str, seen: set[int]) -> Found | None:
    """``seen``: the mappings looked into, each of which many merges may bring."""
    if not isinstance(node, MappingNode) or id(node) in seen:
        return None
    seen.add(id(node))
    for index, (name, value) in enumerate(node.value):
        if isinstance(name, ScalarNode) and name.value == key:
            return Found(index, value)
    for name, value in node.value:
        if isinstance(name, ScalarNode) and name.value == "<<" and name.tag is PLAIN and not name.style:
            for one in value.value if isinstance(value, SequenceNode) else [value]:
                if (found := _lookup(one, key, seen)) is not None:
                    return Found(None, found.value)
    return None


def scalar(node: Node, key: str) -> ScalarNode | None:
    """The scalar at ``key``."""
    found = lookup(node, key)
    return found.value if found is not None and isinstance(found.value, ScalarNode) else None


def text_at(node: Node, key: str) -> str:
    """The characters of the scalar at ``key``; "" if there is none."""
    found = scalar(node, key)
    return found.value if found is not None else ""


def below(node: Node, *keys: str) -> Node | None:
    """The node at the end of these keys."""
    for key in keys:
        found = lookup(node, key)
        if found is None:
            return None
        node = found.value
    return node


def items(node: Node | None) -> list[Node]:
    """A list's items; none if it isn't one."""
    return list(node.value) if isinstance(node, SequenceNode) else []


def pairs(node: Node) -> list[tuple[str, Node]]:
    """A mapping's own pairs whose keys are scalars."""
    if not isinstance(node, MappingNode):
        return []
    return [(key.value, value) for key, value in node.value if isinstance(key, ScalarNode)]


def walk(node: Node, path: str, *, skip: frozenset[str] = frozenset()) -> Iterator[tuple[str, str, Node]]:
    """Every node below and at ``node``, each once: its path for people, the key that leads to it, itself.

    Pairs whose key is in ``skip`` are left out, at any depth.
    """
    seen: set[int] = set()
    stack: list[tuple[str, str, Node]] = [(path, path.rpartition(".")[2], node)]
    while stack:
        path, key, node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield path, key, node
        if isinstance(node, SequenceNode):
            stack += [(f"{path}[{index}]", key, item) for index, item in reversed(list(enumerate(node.value)))]
        elif isinstance(node, MappingNode):
            named = [(name, value) for name, value in pairs(node) if name not in skip]
            stack += [(f"{path}.{name}" if path else name, name, value) for name, value in reversed(named)]
