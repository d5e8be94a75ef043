"""Patches that a kustomization holds as text, of both kinds: a part of an object, or the operations of RFC 6902. Pure.

Where they stand: ``patches`` of kustomizations, of Flux' Kustomizations and of Argo CD's sources, and a kustomization's older
``patchesStrategicMerge`` and ``patchesJson6902`` (kubectl.docs.kubernetes.io/references/kustomize/kustomization/patches).
"""

from __future__ import annotations

from collections.abc import Iterator

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from windlass.images import parse_image
from workers.promote.edit.containers import CONTAINERS, image_of, of_containers
from workers.promote.edit.nested import nested
from workers.promote.edit.pages import below, items, scalar, text_at
from workers.promote.edit.places import Inline, Place
from workers.promote.edit.scalars import is_text

_WRITES = frozenset({"add", "replace"})


def patches(node: Node, field: str) -> Iterator[Place]:
    """The images that the patches of a kustomization set."""
    dot = f"{field}." if field else ""
    for key in ("patches", "patchesJson6902"):
        for index, item in enumerate(items(below(node, key))):
            yield from nested(below(item, "patch"), f"{dot}{key}[{index}].patch", _patch)
    for index, item in enumerate(items(below(node, "patchesStrategicMerge"))):
        yield from nested(item, f"{dot}patchesStrategicMerge[{index}]", _patch)


def _patch(node: Node) -> Iterator[Place]:
    if isinstance(node, MappingNode):
        yield from of_containers(node, "")
        return
    for index, operation in enumerate(items(node)):
        if text_at(operation, "op") in _WRITES:
            yield from _operation(operation, f"[{index}].value")


def _operation(operation: Node, field: str) -> Iterator[Place]:
    """What an operation writes: an image, a container, a list of containers, or what holds some."""
    steps, value = text_at(operation, "path").split("/"), below(operation, "value")
    if isinstance(value, ScalarNode):
        image = scalar(operation, "value") if steps[-1] == "image" else None
        if image is not None and is_text(image) and parse_image(image.value) is not None:
            yield Inline(field, image)
    elif isinstance(value, SequenceNode) and steps[-1] in CONTAINERS:
        for index, container in enumerate(value.value):
            if (image := image_of(container)) is not None:
                yield Inline(f"{field}[{index}].image", image)
    elif isinstance(value, MappingNode) and len(steps) > 1 and steps[-2] in CONTAINERS:
        if (image := image_of(value)) is not None:
            yield Inline(f"{field}.image", image)
    elif value is not None:
        yield from of_containers(value, field)
