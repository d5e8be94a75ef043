"""How runs meet the renderers: what a chart may ask of the target cluster, and what to remember of its output."""

from __future__ import annotations

from collections.abc import Sequence

from windlass.documents.types import Application
from workers.cluster import ClusterAccess
from workers.context import Context
from workers.desired import Output, SourceAt
from workers.render.commit_tree import CommitTree
from workers.render.helm import Target
from workers.render.plain import Manifest
from workers.render.random_values import FieldPath
from workers.render.renderer import RandomField


async def render(context: Context, cluster: ClusterAccess, application: Application, at: SourceAt) -> Output | None:
    """What a renderer makes of the source; None: it is plain manifests.

    :raises RenderError: with file and line where they are known.
    """
    tree = CommitTree(at.repository, at.commit)
    kind = context.renderer.kind(tree, at.source)
    if kind == "plain" and at.source.sops is None:
        return None
    await context.open_renderer()
    namespace = application.spec.destination.namespace or "default"
    target = Target(application.name, namespace)
    if kind == "helm":
        target = Target(application.name, namespace, await cluster.version(), await cluster.discovery.versions())
    output = await context.renderer.render(tree, at.source, target)
    warnings = (*output.warnings, *(f"{field} differs from render to render" for field in output.random))
    return Output(output.manifests, output.inputs, warnings, random_paths(output.manifests, output.random))


def random_paths(manifests: Sequence[Manifest], random: Sequence[RandomField]) -> dict[int, tuple[FieldPath, ...]]:
    """By an object's place: the paths of what isn't the same in two renders. An object that is so as a whole has none."""
    if not random:
        return {}
    places = {manifest[:4]: place for place, manifest in enumerate(manifests)}
    found: dict[int, tuple[FieldPath, ...]] = {}
    for field in random:
        place = places.get((field.api_version, field.kind, field.namespace, field.name))
        if place is not None and field.path:
            found[place] = (*found.get(place, ()), tuple(field.path))
    return found
