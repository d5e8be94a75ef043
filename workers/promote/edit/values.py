"""Helm values, wherever they stand: mappings of repository and tag, and whole references. Pure.

Charts agree on nothing, so these are the forms that they use: ``{registry?, repository, tag, digest?}``, ``{name, tag}``,
``{image, tag}``, and ``image: NAME:TAG``. What merely looks like a reference (``host: redis:6379``) is none: a key must say
image, or the name a registry.
"""

from __future__ import annotations

from collections.abc import Iterator

from yaml.nodes import MappingNode, Node, ScalarNode

from windlass.images import parse_image
from workers.promote.edit.pages import lookup, scalar, text_at, walk
from workers.promote.edit.places import Fields, Inline, Place
from workers.promote.edit.scalars import is_text

KEYS = ("tag", "digest")


def values(node: Node, field: str) -> Iterator[Place]:
    """The images that values name."""
    for path, key, one in walk(node, field):
        if isinstance(one, MappingNode):
            if (found := _fields(one, path, key)) is not None:
                yield found
        elif isinstance(one, ScalarNode) and is_reference(one, key):
            yield Inline(path, one)


def _fields(node: MappingNode, path: str, key: str) -> Fields | None:
    tag, digest = lookup(node, "tag"), lookup(node, "digest")
    if (tag and not isinstance(tag.value, ScalarNode)) or (digest and not isinstance(digest.value, ScalarNode)):
        return None
    for name_key in ("repository", "image", "name"):
        name = scalar(node, name_key)
        if name is None or not is_text(name):
            continue
        alone = name_key == "repository" and ("image" in key.lower() or lookup(node, "registry") is not None)
        if not (tag or digest or alone):
            continue
        registry = text_at(node, "registry").strip("/")
        after = max((f.place for f in (lookup(node, name_key), tag) if f and f.place is not None), default=0)
        return Fields(
            path, node, f"{registry}/{name.value}" if registry else name.value, KEYS, after, scalar(node, "tag"),
            scalar(node, "digest"), digest_in_tag=True, line=node.start_mark.line + 1,
        )  # fmt: skip
    return None


def is_reference(node: ScalarNode, key: str) -> bool:
    """Is it a whole reference, with a tag or a digest?"""
    reference = parse_image(node.value) if is_text(node) else None
    if reference is None or not (reference.tag or reference.digest):
        return False
    host = reference.written.partition("/")[0]
    return "image" in key.lower() or (host != reference.written and ("." in host or ":" in host))
