"""One value changed in an overlay, or in a chart, of 100 objects: from the webhook's arrival to the watch event.

The limit is what a script would do: `git fetch`, the bare program on a work tree, and one apply of what changed.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from benchmarks.bare import BareCluster
from benchmarks.push_to_applied import config_map
from benchmarks.pushes import Change, Pushed, applied, rounds, tell_times
from benchmarks.reaction import Reaction
from benchmarks.stage import Stage, stage
from tests.parts.build import binary
from tests.parts.windlass import application, cluster, repository

OBJECTS = 100
BASE, OVERLAY, CHART = "base", "overlays/prod", "chart"
PROGRAMS = ("helm", "kustomize")

TEMPLATE = """\
{{- range $number := untilStep %d %d 1 }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: cm-{{ printf "%%05d" $number }}
  labels:
    app.kubernetes.io/name: {{ $.Release.Name }}
data:
  value: {{ index $.Values.settings (printf "cm-%%05d" $number) | quote }}
{{- end }}
"""
A_FILE = 10
"""Objects a template."""


class Rendered(NamedTuple):
    """One way to render the same objects: its files, what one push changes of them, and the bare program's command."""

    measure: str
    path: str
    files: dict[str, str]
    change: Callable[[int, str], Change]
    command: tuple[str, ...]
    source: dict[str, Any]


def _name(number: int) -> str:
    return f"cm-{number % OBJECTS:05d}"


def _kustomize() -> Rendered:
    names = [_name(i) for i in range(OBJECTS)]
    files = {f"{BASE}/{name}.yaml": config_map(number, "first") for number, name in enumerate(names)}
    files[f"{BASE}/kustomization.yaml"] = yaml.safe_dump({"resources": [f"{name}.yaml" for name in names]})
    patches = [{"path": f"{name}.yaml"} for name in names[:: OBJECTS // 10]]
    overlay = {"resources": ["../../base"], "labels": [{"pairs": {"stage": "prod"}}], "patches": patches}
    files[f"{OVERLAY}/kustomization.yaml"] = yaml.safe_dump(overlay)
    files |= {f"{OVERLAY}/{patch['path']}": config_map(int(patch["path"][3:8]), "prod") for patch in patches}

    def change(number: int, value: str) -> Change:
        patched = number * (OBJECTS // 10) % OBJECTS
        name = _name(patched)
        return Change({f"{OVERLAY}/{name}.yaml": config_map(patched, value)}, name, value)

    return Rendered("kustomize_push", OVERLAY, files, change, ("kustomize", "build", OVERLAY), {})


def _helm() -> Rendered:
    settings = {_name(i): "first" for i in range(OBJECTS)}
    files = {
        f"{CHART}/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
        f"{CHART}/values.yaml": yaml.safe_dump({"settings": settings}),
    }
    for first in range(0, OBJECTS, A_FILE):
        files[f"{CHART}/templates/part-{first:03d}.yaml"] = TEMPLATE % (first, first + A_FILE)

    def change(number: int, value: str) -> Change:
        name = _name(number * 37)
        settings[name] = value
        return Change({f"{CHART}/values.yaml": yaml.safe_dump({"settings": settings})}, name, value)

    command = ("helm", "template", "web", CHART, "--namespace", "helm-push")
    return Rendered("helm_push", CHART, files, change, command, {"helm": {"release": "web"}})


async def kustomize(sizes: list[int]) -> None:
    """``sizes`` is not used: the measure is of 100 objects."""
    await _measure(_kustomize())


async def helm(sizes: list[int]) -> None:
    """``sizes`` is not used: the measure is of 100 objects."""
    await _measure(_helm())


async def _measure(rendered: Rendered) -> None:
    with stage(f"bench-{rendered.measure}", forge=True) as parts:
        async with BareCluster(parts.kubeconfig) as bare:
            await _with(parts, bare, rendered)


async def _with(parts: Stage, bare: BareCluster, rendered: Rendered) -> None:
    name = namespace = rendered.measure.replace("_", "-")
    path = os.pathsep.join([*(str(binary(program).parent) for program in PROGRAMS), os.environ["PATH"]])
    await bare.create_namespace(namespace)
    remote, work = parts.create_repository(name, rendered.files)
    twin_remote, twin = parts.create_repository(f"{name}-twin", rendered.files)
    windlass = parts.windlass(name, PATH=path)
    try:
        document: dict[str, Any] = application(name, repository=name, path=rendered.path, namespace=namespace)
        document["spec"]["sources"][0] |= rendered.source
        windlass.write(repository(name, remote.clone_url), cluster("local", parts.kubeconfig), document)
        windlass.start()
        await asyncio.sleep(3)
        parts.forge.create_webhook(name, f"{windlass.url}/webhooks/{name}", windlass.secret)
        await applied(bare, windlass, namespace, OBJECTS)
        async with Reaction(bare, twin_remote.clone_url, parts.folder / f"{name}-mirror.git") as reaction:
            parts.forge.create_webhook(f"{name}-twin", reaction.webhook, "unused")
            on = Pushed(bare, windlass, work, twin, reaction, namespace, name)
            times = await rounds(on, rendered.change, lambda tree: _bare(rendered.command, tree.path, path))
        tell_times(rendered.measure, OBJECTS, times)
    finally:
        windlass.stop()


async def _bare(command: tuple[str, ...], folder: Path, path: str) -> float:
    """The seconds of one run of the bare program.

    :raises RuntimeError: with what it said.
    """
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    if process.returncode or output.count(b"kind: ConfigMap") != OBJECTS:
        raise RuntimeError(f"{' '.join(command)}: {errors.decode()[-500:]}")
    return time.perf_counter() - started
