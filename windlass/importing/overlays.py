"""What Argo CD and Flux lay over a kustomization, where both say it in kustomize's own words. Pure."""

from __future__ import annotations

import json
import re

from windlass.documents.rendering import KustomizeImage, KustomizePatch
from windlass.importing.given import Fields
from windlass.yamls import YamlError, load_all

_IMAGE = re.compile(
    r"(?:(?P<name>[^=]+)=)?(?P<new>[^@:=]+(?::\d+/[^@:=]+)?)(?::(?P<tag>[^@:=]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?\Z"
)
_TARGET = ("group", "version", "kind", "name", "namespace", "labelSelector", "annotationSelector")
_SCALED = "(Deployment|ReplicaSet|ReplicationController|StatefulSet)"


def image_of(text: str) -> KustomizeImage | None:
    """An image as `kustomize edit set image` takes it: name=new:tag, name=new@digest, name:tag; None: it is none."""
    match = _IMAGE.match(text)
    if match is None:
        return None
    name = match["name"] or match["new"]
    new = match["new"] if match["name"] and match["new"] != match["name"] else None
    return KustomizeImage(name.partition(":")[0] if match["name"] else name, new, match["tag"], match["digest"])


def images(said: list[Fields]) -> tuple[KustomizeImage, ...]:
    """Images as in kustomization.yaml."""
    return tuple(
        KustomizeImage(image.text("name") or "", image.text("newName"), image.text("newTag"), image.text("digest"))
        for image in said
    )


def patches(said: list[Fields]) -> tuple[KustomizePatch, ...]:
    """Patches as in kustomization.yaml, each with its text."""
    found = []
    for one in said:
        target = one.below("target")
        selected = {field: text for field in _TARGET if (text := target.text(field)) is not None}
        one.lost("path", "a patch in a file of its own: only one that stands here is taken over")
        one.lost("options", "Windlass' patches have no options")
        if text := one.text("patch"):
            found.append(KustomizePatch(text, selected))
    return tuple(found)


def strategic(said: list[object]) -> tuple[KustomizePatch, ...]:
    """`patchesStrategicMerge`: each an object, or the text of one."""
    return tuple(KustomizePatch(one if isinstance(one, str) else json.dumps(one)) for one in said)


def metadata(labels: dict[str, str], annotations: dict[str, str]) -> tuple[KustomizePatch, ...]:
    """Labels and annotations of the objects alone, as a patch of all of them: kustomize's own fields reach pod templates."""
    added = {"labels": labels, "annotations": annotations}
    if not any(added.values()):
        return ()
    body = {"apiVersion": "v1", "kind": "Any", "metadata": {"name": "any", **{k: v for k, v in added.items() if v}}}
    return (KustomizePatch(json.dumps(body), {"kind": ".*"}),)


def replicas(said: list[Fields]) -> tuple[KustomizePatch, ...]:
    """`replicas` by name, as patches of what can be scaled."""
    found = []
    for one in said:
        name, count = one.text("name"), one.text("count")
        if name is None or count is None or not count.isdigit():
            one.wrong("expected name and count")
            continue
        patch = json.dumps([{"op": "add", "path": "/spec/replicas", "value": int(count)}])
        found.append(KustomizePatch(patch, {"kind": _SCALED, "name": re.escape(name)}))
    return tuple(found)


def values_of(text: str) -> dict[str, object] | None:
    """Helm's values from their text; None: it is no mapping."""
    try:
        read = [parsed.value for parsed in load_all(text.encode())]
    except YamlError:
        return None
    if not read:
        return {}
    return read[0] if len(read) == 1 and isinstance(read[0], dict) else None
