"""Kubernetes objects: their containers, and the few kinds that name images elsewhere. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from yaml.nodes import Node

from workers.promote.edit import argocd, kustomize
from workers.promote.edit.containers import of_containers
from workers.promote.edit.pages import below, items, lookup, text_at
from workers.promote.edit.patches import patches
from workers.promote.edit.places import Place
from workers.promote.edit.values import values

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
            if (spec := below(node, "spec")) is not None:
                yield from patches(spec, f"{dot}spec")
        else:
            yield from of_containers(node, field)
