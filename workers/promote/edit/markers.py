"""Comments that mark a field, as Flux writes them: ``# {"$imagepolicy": "NAMESPACE:NAME"}``. Pure.

The name may be followed by ``:tag``, ``:name`` or ``:digest``; see fluxcd.io/flux/guides/image-update, "Configure image update".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from yaml.nodes import ScalarNode

from windlass.documents.editing import Part
from windlass.images import parse_image
from workers.promote.edit.model import EditError, Wanted
from workers.promote.edit.pages import Page, walk
from workers.promote.edit.places import Set, put

NEEDLE = "$imagepolicy"
_COMMENT = re.compile(r"[ \t,\]}]*#[ \t]*(\{[^\r\n]*\})[ \t]*(?=\r|\n|\Z)")
_PARTS: dict[str, Part] = {"": "image", "tag": "tag", "name": "name", "digest": "digest"}


class Marked(NamedTuple):
    """A scalar, the policy that marks it, and what of the image it holds."""

    field: str
    node: ScalarNode
    policy: str
    part: Part

    @property
    def line(self) -> int:
        return int(self.node.start_mark.line) + 1

    @property
    def name(self) -> str:
        """The image that it names; "" if it holds a tag or a digest only."""
        reference = parse_image(self.node.value) if self.part in ("image", "name") else None
        return reference.name if reference else ""

    def changes(self, wanted: Wanted) -> Iterator[Set]:
        yield from put(self.node, part_of(self.node.value, self.part, wanted, self.field), self.field)


def part_of(value: str, part: Part, wanted: Wanted, field: str) -> str:
    """What a field that holds this part, and ``value`` until now, holds for the image.

    :raises EditError: it is the digest's, which is not known.
    """
    if part == "image":
        return wanted.reference(value)
    if part == "name":
        known = parse_image(value)
        return value if known is not None and known.name == wanted.name and not known.tag else wanted.image
    if part == "tag":
        digest = wanted.digest_for(pinned=True) if "@" in value else ""
        return f"{wanted.tag}@{digest}" if digest else wanted.tag
    if not wanted.digest:
        raise EditError(f"{field}: holds the image's digest, and that of {wanted.image}:{wanted.tag} is not known")
    return wanted.digest


def marked(page: Page) -> Iterator[Marked]:
    """Every marked scalar of a file."""
    if NEEDLE not in page.text:
        return
    for document in page.documents:
        for path, _, node in walk(document.node, ""):
            if not isinstance(node, ScalarNode) or node.style in ("|", ">"):
                continue
            match = _COMMENT.match(page.text, node.end_mark.index)
            found = _policy(match[1]) if match else None
            if found is not None:
                yield Marked(path, node, *found)


def _policy(comment: str) -> tuple[str, Part] | None:
    if NEEDLE not in comment:
        return None
    try:
        value = json.loads(comment).get(NEEDLE)
    except (ValueError, RecursionError):
        return None
    parts = value.split(":") if isinstance(value, str) else []
    part = _PARTS.get(parts[2] if len(parts) == 3 else "") if len(parts) in (2, 3) else None
    return (f"{parts[0]}:{parts[1]}", part) if part is not None else None
