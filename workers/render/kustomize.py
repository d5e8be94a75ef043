"""`kustomize build` on exactly the files that the resolver found, with what the application lays over them.

What must hold: without plugins, functions, helm and remote bases; what is written to the scratch folder is what `inputs` name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from windlass.documents.rendering import KustomizeOptions
from workers.render import kustomization
from workers.render.commit_tree import CommitTree, RenderError, join
from workers.render.complaints import Given, complaint, warnings
from workers.render.programs import Program
from workers.render.sandbox import Sandbox
from workers.render.scratch import Scratch

OVERLAY, REPOSITORY = "overlay", "repository"
_SPEED = {"GOGC": "400", "GOMEMLIMIT": "512MiB", "GOMAXPROCS": "4"}
"""Collect garbage rarely: a render is short, and its memory is bounded anyway."""


def resolve(tree: CommitTree, folder: str, options: KustomizeOptions | None) -> kustomization.Closure:
    """What the kustomization in ``folder``, and the components laid over it, read.

    :raises RenderError: see :func:`workers.render.kustomization.resolve`.
    """
    return kustomization.resolve(tree, folder, *_components(folder, options))


async def build(
    program: Program,
    sandbox: Sandbox,
    scratch: Scratch,
    folder: str,
    options: KustomizeOptions | None,
    files: Mapping[str, bytes],
    secret: frozenset[str],
) -> tuple[bytes, tuple[str, ...]]:
    """What `kustomize build` prints for ``folder`` of ``files``, and its warnings.

    :raises RenderError: with kustomize's own message.
    """
    laid_over = options is not None and not options.empty
    written, target = dict(files), folder or "."
    if options is not None and laid_over:  # beside the repository: what it builds upon must not contain it
        written = {f"{REPOSITORY}/{path}": data for path, data in files.items()}
        written[f"{OVERLAY}/kustomization.yaml"] = orjson.dumps(overlay(folder, options))
        secret, target = frozenset(f"{REPOSITORY}/{path}" for path in secret), OVERLAY
    async with scratch.folder(written) as made:
        finished = await sandbox.run(
            [program.path, "build", f"./{target}"], folder=made.files, home=made.home, environment=_SPEED
        )
        root = made.files / REPOSITORY if laid_over else made.files
        given = Given(str(root), written, secret)
        if finished.code:
            raise RenderError(await asyncio.to_thread(complaint, finished, "kustomize", given), folder or "/")
        return finished.out, await asyncio.to_thread(warnings, finished.err, given)


def overlay(folder: str, options: KustomizeOptions) -> dict[str, Any]:
    """The kustomization that lays ``options`` over the one in ``folder``."""
    made: dict[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [_beside(folder)],
    }
    for field, value in msgspec.to_builtins(options).items():
        if field == "labels":
            made["labels"] = [{"pairs": value, "includeSelectors": False, "includeTemplates": True}]
        elif field == "annotations":
            made["commonAnnotations"] = value
        elif field == "components":
            made["components"] = [_beside(path) for path in _components(folder, options)]
        elif value:
            made[field] = value
    return made


def _components(folder: str, options: KustomizeOptions | None) -> list[str]:
    found: list[str] = []
    for path in options.components if options is not None else ():
        at = join(folder, path)
        if at is None:
            raise RenderError(f"the component {path} leads out of the repository")
        found.append(at)
    return found


def _beside(path: str) -> str:
    return f"../{REPOSITORY}/{path}".rstrip("/")
