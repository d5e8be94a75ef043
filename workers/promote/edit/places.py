"""The two forms in which a file names an image, one scalar or the fields of a mapping, and what must change in each. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from yaml.nodes import Node, ScalarNode

from windlass.images import parse_image, valid_digest
from workers.promote.edit.model import Wanted
from workers.promote.edit.scalars import Written, added, is_text, rewritten

if TYPE_CHECKING:
    from workers.promote.edit.nested import Nested, Text


class Set(NamedTuple):
    """The scalar ``node`` gets the value ``value``."""

    node: ScalarNode
    value: str
    field: str


class Add(NamedTuple):
    """``mapping`` gets a pair more, after its pair of the number ``after``."""

    mapping: Node
    after: int
    key: str
    value: str
    field: str


Direct: TypeAlias = Set | Add


class Within(NamedTuple):
    """A change of the text that a scalar holds."""

    text: Text
    change: Direct
    field: str


Change: TypeAlias = Direct | Within


@dataclass(frozen=True)
class Inline:
    """A scalar that is a whole reference, after ``prefix`` (Argo CD writes ``NAME=`` there)."""

    field: str
    node: ScalarNode
    prefix: str = ""

    @property
    def line(self) -> int:
        return int(self.node.start_mark.line) + 1

    @property
    def shown(self) -> str:
        return str(self.node.value).removeprefix(self.prefix)

    @property
    def name(self) -> str:
        reference = parse_image(self.shown)
        return reference.name if reference else ""

    def changes(self, wanted: Wanted) -> Iterator[Direct]:
        yield from put(self.node, self.prefix + wanted.reference(self.shown), self.field)


@dataclass(frozen=True)
class Fields:
    """A mapping's fields. ``keys`` are the names of the tag's and the digest's; ``after``: the pair that a new one follows.

    ``digest_in_tag``: where there is no field for the digest it is written behind the tag, not into a field that none may read.
    """

    field: str
    mapping: Node
    image: str  # as the fields name it, without tag and digest
    keys: tuple[str, str]
    after: int
    tag: ScalarNode | None
    digest: ScalarNode | None
    digest_in_tag: bool
    line: int

    @property
    def shown(self) -> str:
        tag, digest = self.tag.value if self.tag else "", self.digest.value if self.digest else ""
        return self.image + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")

    @property
    def name(self) -> str:
        reference = parse_image(self.image)
        return reference.name if reference and not reference.tag and not reference.digest else ""

    def changes(self, wanted: Wanted) -> Iterator[Direct]:
        tag_key, digest_key = self.keys
        _, at, behind = self.tag.value.partition("@") if self.tag else ("", "", "")
        own = self.digest is not None or (not self.digest_in_tag and not at)
        digest = wanted.digest_for(bool(self.digest.value if self.digest else valid_digest(behind)))
        dot = f"{self.field}." if self.field else ""
        new = wanted.tag if own or not digest else f"{wanted.tag}@{digest}"
        if self.tag is None:
            yield Add(self.mapping, self.after, tag_key, new, f"{dot}{tag_key}")
        else:
            yield from put(self.tag, new, f"{dot}{tag_key}")
        if self.digest is not None:
            yield from put(self.digest, digest, f"{dot}{digest_key}")
        elif own and digest:
            yield Add(self.mapping, self.after, digest_key, digest, f"{dot}{digest_key}")


Place: TypeAlias = "Inline | Fields | Nested"


def put(node: ScalarNode, value: str, field: str) -> Iterator[Set]:
    """The change that makes ``node`` this text; none if it is. A null or a number is not the text that looks like it."""
    if node.value == value and (is_text(node) or not value):
        return
    yield Set(node, value, field)


def in_place(text: str, change: Direct) -> Written:
    """What is written into ``text`` to make the change.

    :raises EditError: there is no place for it.
    """
    if isinstance(change, Set):
        return rewritten(text, change.node, change.value)
    return added(text, change.mapping, change.after, change.key, change.value)
