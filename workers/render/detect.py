"""What a folder is: a chart, a kustomization, or plain manifests. Pure."""

from __future__ import annotations

from typing import Literal

from windlass.documents.types import Source
from workers.render import kustomization
from workers.render.commit_tree import CommitTree

Renderer = Literal["plain", "kustomize", "helm", "jsonnet"]
CHART = "Chart.yaml"


def detect(tree: CommitTree, source: Source) -> Renderer:
    """What renders ``source``: what its document names, else what the folder's files say.

    :raises RenderError: a file that decides is none that may be read, or there are several kustomization files.
    """
    if source.helm is not None:
        return "helm"
    if source.kustomize is not None:
        return "kustomize"
    if source.jsonnet is not None:
        return "jsonnet"
    if tree.is_file(f"{source.path}/{CHART}" if source.path else CHART):
        return "helm"
    return "kustomize" if kustomization.find(tree, source.path) is not None else "plain"


def deciding(path: str) -> list[str]:
    """The paths of the files that decide, so that one which appears or goes counts as a change."""
    return [f"{path}/{CHART}" if path else CHART, *kustomization.names_of(path)]
