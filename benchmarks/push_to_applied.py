"""A push of one ConfigMap out of N: from the push, and from the webhook's arrival, to the watch event; against the raw limit
(see `benchmarks.pushes`).
"""

from __future__ import annotations

import asyncio
import os
import sys

import yaml

from benchmarks.bare import BareCluster
from benchmarks.out import median, tell
from benchmarks.processes import pss_mib
from benchmarks.pushes import Change, Deliver, Pushed, applied, pushed, rounds, tell_times
from benchmarks.reaction import Reaction
from benchmarks.stage import Stage, stage
from tests.parts.windlass import application, cluster, repository


def config_map(number: int, value: str) -> str:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"cm-{number:05d}"}, "data": {"value": value}}
    return yaml.safe_dump(body, sort_keys=False)


async def measure(sizes: list[int]) -> None:
    with stage("bench-push", forge=True) as parts:
        for size in sizes:
            await applied_by(parts, size, "push_to_applied", pushed)


async def applied_by(parts: Stage, size: int, measure: str, deliver: Deliver) -> None:
    """Changes of one object out of ``size``, brought to the branch by ``deliver``."""
    namespace, name = f"bench-{size}", f"bench-{size}"
    async with BareCluster(parts.kubeconfig) as bare:
        await bare.create_namespace(namespace)
        files = {f"manifests/cm-{i:05d}.yaml": config_map(i, "first") for i in range(size)}
        remote, work = parts.create_repository(name, files)
        twin_remote, twin = parts.create_repository(f"{name}-twin", files)
        windlass = parts.windlass(f"{measure}-{size}")
        try:
            windlass.write(
                repository(name, remote.clone_url),
                cluster("local", parts.kubeconfig),
                application(name, repository=name, path="manifests", namespace=namespace),
            )
            windlass.start()
            pids = windlass.pids
            await asyncio.sleep(3)
            tell("memory", n=0, pss_mib=pss_mib(pids))
            parts.forge.create_webhook(name, f"{windlass.url}/webhooks/{name}", windlass.secret)
            await applied(bare, windlass, namespace, size)
            async with Reaction(bare, twin_remote.clone_url, parts.folder / f"{name}-mirror.git") as reaction:
                parts.forge.create_webhook(
                    f"{name}-twin", reaction.webhook, "unused", events=("push",), branches="main"
                )
                on = Pushed(bare, windlass, work, twin, reaction, namespace, name)
                times = await rounds(on, lambda number, value: _change(number * 7919 % size, value), deliver=deliver)
            tell_times(measure, size, times)
            tell("memory", n=size, pss_mib=pss_mib(pids))
            tell("cpu", n=size, cpu_s_per_push=median(times.cpu))
            if os.environ.get("SHOW"):
                print(windlass.run("history", name).stdout, file=sys.stderr)
        finally:
            windlass.stop()


def _change(index: int, value: str) -> Change:
    name = f"cm-{index:05d}"
    return Change({f"manifests/{name}.yaml": config_map(index, value)}, name, value)
