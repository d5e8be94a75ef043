"""Fields that the document names by file and path. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from yaml.nodes import MappingNode, Node, ScalarNode

from windlass import jsonpath
from windlass.documents.editing import Field, Part
from workers.promote.edit.markers import part_of
from workers.promote.edit.model import EditError, Wanted
from workers.promote.edit.pages import Page, below, items, lookup, pairs
from workers.promote.edit.places import Set, put


class Named(NamedTuple):
    """A scalar that a field of the document leads to."""

    field: str
    node: ScalarNode
    part: Part

    @property
    def line(self) -> int:
        return int(self.node.start_mark.line) + 1

    def changes(self, wanted: Wanted) -> Iterator[Set]:
        yield from put(self.node, part_of(self.node.value, self.part, wanted, self.field), self.field)


def named(page: Page, field: Field) -> Iterator[Named]:
    """What ``field`` leads to in a file.

    :raises EditError: nothing, or something that holds no single value.
    """
    found: Sequence[Node] = [document.node for document in page.documents]
    for step in jsonpath.parse(field.path):
        found = [below_it for node in found for below_it in _step(step, node)]
    if not found:
        raise EditError(f"there is no {field.path}")
    for node in found:
        if not isinstance(node, ScalarNode):
            raise EditError(f"line {node.start_mark.line + 1}: {field.path} is no single value")
        yield Named(field.path, node, field.part)


def _step(step: jsonpath.Step, node: Node) -> list[Node]:
    if isinstance(step.name, str):
        one = lookup(node, step.name)
        return [one.value] if one is not None else []
    inside = items(node) or [value for _, value in pairs(node)]
    if isinstance(step.name, int):
        return inside[step.name :][:1] if not isinstance(node, MappingNode) and -len(inside) <= step.name else []
    if not step.where:
        return inside
    held = [(item, below(item, *step.where)) for item in inside]
    return [item for item, one in held if isinstance(one, ScalarNode) and (one.value == step.value) == step.equal]
