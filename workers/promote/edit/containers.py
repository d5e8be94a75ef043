"""The containers of whatever object has some. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from windlass.images import parse_image
from workers.promote.edit.pages import scalar, walk
from workers.promote.edit.places import Inline, Place
from workers.promote.edit.scalars import is_text
from workers.promote.edit.values import is_reference

CONTAINERS = frozenset({"containers", "initContainers", "ephemeralContainers"})
_DATA = frozenset({"metadata", "status", "data", "stringData", "binaryData", "env", "args", "command"})


def of_containers(node: Node, field: str) -> Iterator[Place]:
    """The images of an object's containers, and of what names an image as containers do."""
    listed: set[int] = set()
    for path, key, one in walk(node, field, skip=_DATA):
        if isinstance(one, SequenceNode) and key in CONTAINERS:
            for index, container in enumerate(one.value):
                image = image_of(container)
                if image is not None:
                    listed.add(id(image))
                    yield Inline(f"{path}[{index}].image", image)
        elif isinstance(one, ScalarNode) and id(one) not in listed and _names_image(path, key, one):
            listed.add(id(one))
            yield Inline(path, one)


def image_of(container: Node) -> ScalarNode | None:
    """A container's image, if it is one."""
    image = scalar(container, "image") if isinstance(container, MappingNode) else None
    return image if image is not None and is_text(image) and parse_image(image.value) is not None else None


def _names_image(path: str, key: str, node: ScalarNode) -> bool:
    """Custom resources say ``image`` where they want one; a volume of an image says ``image.reference``."""
    if key == "reference" and not path.endswith(".image.reference"):
        return False
    return key in ("image", "reference") and is_reference(node, "image")
