"""Kustomize's ``images``: of a kustomization, and of Flux' Kustomization, which takes the same entries. Pure.

What an entry's ``newTag`` and ``digest`` mean: kubernetes-sigs/kustomize api/filters/imagetag (both: TAG@DIGEST).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from yaml.nodes import MappingNode, Node, SequenceNode

from windlass.registries.names import image_name
from workers.promote.edit.model import EditError, Wanted
from workers.promote.edit.pages import Page, below, items, lookup, scalar, text_at
from workers.promote.edit.places import Add as AddPair
from workers.promote.edit.places import Direct, Fields, Set
from workers.promote.edit.scalars import Written, end_of_pair, on_own_line, shown

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
KEYS = ("newTag", "digest")


@dataclass(frozen=True)
class Entry(Fields):
    """An entry, known by the image that it names in the end."""

    def replaces(self, wanted: Wanted) -> bool:
        """Do the manifests name the image, and it another one in its place, with a tag of its own?"""
        versioned = bool((self.tag and self.tag.value) or (self.digest and self.digest.value))
        return versioned and self.name != wanted.name and image_name(text_at(self.mapping, "name")) == wanted.name


@dataclass(frozen=True)
class Renamed(Entry):
    """An entry found by the name that stands in the manifests: it is also told which image that is."""

    def changes(self, wanted: Wanted) -> Iterator[Direct]:
        field = f"{self.field}.newName"
        known = scalar(self.mapping, "newName")
        if known is None:
            yield AddPair(self.mapping, self.after, "newName", wanted.image, field)
        elif self.name != wanted.name:
            yield Set(known, wanted.image, field)
        yield from super().changes(wanted)


def entries(node: Node | None, field: str, placeholder: str | None = None) -> Iterator[Entry]:
    """The images that a list of entries names; ``placeholder``: the name of one that is ours whatever it names."""
    for index, item in enumerate(items(node)):
        if not isinstance(item, MappingNode):
            continue
        name, digest = text_at(item, "name"), scalar(item, "digest")
        tag, after = scalar(item, "newTag"), _after(item)
        found = Entry(
            f"{field}[{index}]", item, text_at(item, "newName") or name, KEYS, after, tag, digest,
            digest_in_tag=False, line=item.start_mark.line + 1,
        )  # fmt: skip
        yield Renamed(**vars(found)) if placeholder is not None and name == placeholder else found


def _after(entry: MappingNode) -> int:
    """The pair that new ones follow: the last of those that say which image it is."""
    found = [lookup(entry, key) for key in ("name", "newName", "newTag")]
    return max((one.place for one in found if one is not None and one.place is not None), default=0)


def added_entry(page: Page, wanted: Wanted, name: str) -> tuple[Written, dict[str, str]]:
    """A new entry in a kustomization, and what it says.

    :raises EditError: it is written in a way that leaves no place for it.
    """
    if len(page.documents) != 1 or not isinstance(root := page.documents[0].node, MappingNode) or not root.value:
        raise EditError("expected one kustomization")
    fields = {"name": name}
    if name != wanted.image:
        fields["newName"] = wanted.image
    fields["newTag"] = wanted.tag
    if digest := wanted.digest_for(pinned=False):
        fields["digest"] = digest
    return _place(page, root, fields), fields


def _place(page: Page, root: MappingNode, fields: dict[str, str]) -> Written:
    found, text = below(root, "images"), page.text
    if found is None or not isinstance(found, SequenceNode):
        return _with_images(page, root, fields)
    if found.flow_style:
        at = found.end_mark.index - 1
        return Written(at, at, (", " if found.value else "") + _flow(fields, quoted=_is_quoted(text, root)))
    end = end_of_pair(text, *next(pair for pair in root.value if pair[1] is found))
    dash = " " * found.start_mark.column
    return on_own_line(text, end, _block(text, dash, fields))


def _with_images(page: Page, root: MappingNode, fields: dict[str, str]) -> Written:
    if lookup(root, "images") is not None:
        raise EditError("images is no list")
    key, value = root.value[-1]
    end, text = end_of_pair(page.text, key, value), page.text
    if root.flow_style:
        quoted = _is_quoted(text, root)
        return Written(end, end, f", {_key('images', quoted)}: [{_flow(fields, quoted=quoted)}]")
    indent = " " * key.start_mark.column
    return on_own_line(text, end, f"{indent}images:{_newline(text)}{_block(text, indent, fields)}")


def _is_quoted(text: str, root: MappingNode) -> bool:
    """Are the file's keys in quotes, as in JSON?"""
    return text[root.value[0][0].start_mark.index] == '"'


def _key(name: str, quoted: bool) -> str:
    return json.dumps(name) if quoted else name


def _flow(fields: dict[str, str], *, quoted: bool) -> str:
    pairs = (f"{_key(key, quoted)}: {json.dumps(value) if quoted else shown(value)}" for key, value in fields.items())
    return "{" + ", ".join(pairs) + "}"


def _block(text: str, dash: str, fields: dict[str, str]) -> str:
    lines = [f"{key}: {shown(value)}" for key, value in fields.items()]
    return f"{dash}- " + f"{_newline(text)}{dash}  ".join(lines)


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
