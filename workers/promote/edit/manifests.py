"""Kubernetes objects: the containers of whatever has some, and the few kinds that name images elsewhere. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from windlass.images import parse_image
from workers.promote.edit import argocd, kustomize
from workers.promote.edit.pages import below, items, lookup, scalar, text_at, walk
from workers.promote.edit.places import Inline, Place
from workers.promote.edit.scalars import is_text
from workers.promote.edit.values import is_reference, values

CONTAINERS = frozenset({"containers", "initContainers", "ephemeralContainers"})
_DATA = frozenset({"metadata", "status", "data", "stringData", "binaryData", "env", "args", "command"})
_OBJECT = re.compile(r"(?:[a-z0-9.-]+/)?v[0-9][a-z0-9]*\Z")
_NONE = frozenset({"CustomResourceDefinition", "ConfigMap", "Secret"})


def is_object(node: Node) -> bool:
    """Has it an apiVersion and a kind? (A chart's own description has no kind.)"""
    return bool(_OBJECT.match(text_at(node, "apiVersion"))) and bool(text_at(node, "kind"))


def objects(node: Node, field: str = "") -> Iterator[Place]:
    """The images that an object names, or, if it is a list, those of its objects."""
    version, kind = text_at(node, "apiVersion"), text_at(node, "kind")
    group, dot = version.rpartition("/")[0], f"{field}." if field else ""
    found = lookup(node, "items")
    if kind.endswith("List") and found is not None:
        for index, item in enumerate(items(found.value)):
            yield from objects(item, f"{dot}items[{index}]")
    elif group == "argoproj.io" and kind in ("Application", "ApplicationSet"):
        yield from argocd.application(node, kind, field)
    elif kind in _NONE and group in ("", "apiextensions.k8s.io"):
        return
    else:
        held = below(node, "spec", "values")
        if group == "helm.toolkit.fluxcd.io" and held is not None:
            yield from values(held, f"{dot}spec.values")
        elif group == "kustomize.toolkit.fluxcd.io":
            yield from kustomize.entries(below(node, "spec", "images"), f"{dot}spec.images")
        else:
            yield from _of_containers(node, field)


def _of_containers(node: Node, field: str) -> Iterator[Place]:
    listed: set[int] = set()
    for path, key, one in walk(node, field, skip=_DATA):
        if isinstance(one, SequenceNode) and key in CONTAINERS:
            for index, container in enumerate(one.value):
                image = scalar(container, "image") if isinstance(container, MappingNode) else None
                if image is not None and is_text(image) and parse_image(image.value) is not None:
                    listed.add(id(image))
                    yield Inline(f"{path}[{index}].image", image)
        elif isinstance(one, ScalarNode) and id(one) not in listed and _names_image(path, key, one):
            listed.add(id(one))
            yield Inline(path, one)


def _names_image(path: str, key: str, node: ScalarNode) -> bool:
    """Custom resources say ``image`` where they want one; a volume of an image says ``image.reference``."""
    if key == "reference" and not path.endswith(".image.reference"):
        return False
    return key in ("image", "reference") and is_reference(node, "image")
