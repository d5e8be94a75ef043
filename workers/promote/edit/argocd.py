"""The sources of Argo CD's applications: Kustomize's images and patches, Helm's parameters and values; no revisions. Pure.

Forms: argo-cd docs/operator-manual/application.yaml; ``.argocd-source[-APP].yaml`` files hold one source (user-guide/parameters).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from yaml.nodes import MappingNode, Node, ScalarNode

from windlass.images import parse_image
from workers.promote.edit.model import EditError, Wanted
from workers.promote.edit.nested import nested
from workers.promote.edit.pages import below, items, scalar, text_at
from workers.promote.edit.patches import patches
from workers.promote.edit.places import Direct, Fields, Inline, Place, Set
from workers.promote.edit.scalars import is_text
from workers.promote.edit.values import KEYS, is_reference, values

SOURCE_FILE = re.compile(r"\.argocd-source(-[^/]+)?\.yaml\Z")
_NAMES = ("repository", "name", "image")


class Parameters(Fields):
    """Helm parameters that together name an image: there is no place for one that is missing."""

    def changes(self, wanted: Wanted) -> Iterator[Direct]:
        for change in super().changes(wanted):
            if not isinstance(change, Set):
                raise EditError(f"{self.field}: there is no parameter for the {change.key}, so nothing can be written")
            yield change


def application(node: Node, kind: str, field: str) -> Iterator[Place]:
    """The images that an Application's sources name, or those of an ApplicationSet's template."""
    keys = ("spec",) if kind == "Application" else ("spec", "template", "spec")
    spec = below(node, *keys)
    if spec is None:
        return
    path = ".".join([field, *keys] if field else keys)
    single = below(spec, "source")
    if single is not None:
        yield from source(single, f"{path}.source")
    for index, one in enumerate(items(below(spec, "sources"))):
        yield from source(one, f"{path}.sources[{index}]")


def source(node: Node, field: str) -> Iterator[Place]:
    """The images that one source names."""
    dot = f"{field}." if field else ""
    for index, item in enumerate(items(below(node, "kustomize", "images"))):
        if isinstance(item, ScalarNode) and is_text(item):
            prefix = item.value[: item.value.rfind("=") + 1]
            if parse_image(item.value.removeprefix(prefix)) is not None:
                yield Inline(f"{dot}kustomize.images[{index}]", item, prefix)
    yield from _parameters(below(node, "helm", "parameters"), f"{dot}helm.parameters")
    if (built := below(node, "kustomize")) is not None:
        yield from patches(built, f"{dot}kustomize")
    held = below(node, "helm", "valuesObject")
    if held is not None:  # then Argo CD doesn't look at the text
        yield from values(held, f"{dot}helm.valuesObject")
    else:
        yield from nested(below(node, "helm", "values"), f"{dot}helm.values", lambda root: values(root, ""))


def _parameters(node: Node | None, field: str) -> Iterator[Place]:
    found = {
        text_at(item, "name"): (index, value)
        for index, item in enumerate(items(node))
        if isinstance(item, MappingNode) and (value := scalar(item, "value")) is not None
    }
    for name, (index, value) in found.items():
        path, _, last = name.rpartition(".")
        if is_reference(value, name):
            yield Inline(f"{field}[{index}].value", value)
        elif last in _NAMES and is_text(value) and isinstance(node, Node):
            dot = f"{path}." if path else ""
            tag, digest = (found[dot + key][1] if dot + key in found else None for key in KEYS)
            if tag is None and digest is None:
                continue
            registry = found[f"{dot}registry"][1].value.strip("/") if f"{dot}registry" in found else ""
            yield Parameters(
                f"{field} {path}", node, f"{registry}/{value.value}" if registry else value.value, KEYS, 0, tag, digest,
                digest_in_tag=True, line=value.start_mark.line + 1,
            )  # fmt: skip
