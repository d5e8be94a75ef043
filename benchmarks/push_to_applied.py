"""A push of one ConfigMap out of N: from the push, and from the webhook's arrival, to the watch event; against the raw limit.

The limit is the git CLI's fetch of such a commit into a warm bare store and one warm bare server-side apply: in reaction to
a webhook, as Windlass works (`limit_ms`, `ratio`), and on a forge that has come to rest (`rest_limit_ms`, `rest_ratio`).
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

import yaml

from benchmarks.bare import BareCluster, git
from benchmarks.out import median, percentile, tell
from benchmarks.processes import cpu_seconds, pss_mib
from benchmarks.reaction import Cost, Reaction, typical
from benchmarks.stage import Stage, stage
from tests.parts.git import WorkTree
from tests.parts.windlass import Windlass, application, cluster, repository

ROUNDS = 30
WARM_UP = 5
REST_SECONDS = 0.3  # the forge has done by then what it does after a push


def config_map(number: int, value: str) -> str:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"cm-{number:05d}"}, "data": {"value": value}}
    return yaml.safe_dump(body, sort_keys=False)


async def measure(sizes: list[int]) -> None:
    with stage("bench-push", forge=True) as parts:
        for size in sizes:
            await _measure(parts, size)


async def _measure(parts: Stage, size: int) -> None:
    namespace, name = f"bench-{size}", f"bench-{size}"
    async with BareCluster(parts.kubeconfig) as bare:
        await bare.create_namespace(namespace)
        await bare.create_namespace("bench-limit")
        files = {f"manifests/cm-{i:05d}.yaml": config_map(i, "first") for i in range(size)}
        remote, work = parts.create_repository(name, files)
        twin_remote, twin = parts.create_repository(f"{name}-twin", files)
        windlass = parts.windlass(f"push-{size}")
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
            await _until(bare, namespace, size)
            async with Reaction(bare, twin_remote.clone_url, parts.folder / f"{name}-mirror.git") as reaction:
                parts.forge.create_webhook(f"{name}-twin", reaction.webhook, "unused")
                await _rounds(bare, windlass, work, twin, reaction, namespace, name, size)
            if os.environ.get("SHOW"):
                print(windlass.run("history", name).stdout, file=sys.stderr)
        finally:
            windlass.stop()


async def _until(bare: BareCluster, namespace: str, size: int) -> None:
    deadline = time.monotonic() + 600
    while await bare.count(namespace) < size:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the first sync of {size} objects did not end")
        await asyncio.sleep(0.25)
    await asyncio.sleep(2)


async def _rounds(
    bare: BareCluster,
    windlass: Windlass,
    work: WorkTree,
    twin: WorkTree,
    reaction: Reaction,
    namespace: str,
    name: str,
    size: int,
) -> None:
    pids = windlass.pids
    pushes: list[float] = []
    arrivals: list[float] = []
    reactions: list[Cost] = []
    rests: list[Cost] = []
    cpu: list[float] = []
    async with bare.watch(namespace) as events:
        for number in range(ROUNDS + WARM_UP):
            index, value = number * 7919 % size, f"{number}-{time.time()}"
            before = cpu_seconds(pids)
            commit, pushed = await _push(work, index, value)
            applied = await _event(events, f"cm-{index:05d}", value)
            await asyncio.sleep(REST_SECONDS)
            cpu.append(cpu_seconds(pids) - before)
            pushes.append(applied - pushed)
            arrivals.append(applied - await asyncio.to_thread(windlass.received, name, commit))
            commit, _ = await _push(twin, index, value)
            reactions.append(await reaction.cost(commit, value))
            await asyncio.sleep(REST_SECONDS)
            commit, _ = await _push(twin, index, f"{value}, at rest")
            rests.append(await reaction.cost(commit, f"{value}, at rest", rest=REST_SECONDS))
    _tell(size, pushes[WARM_UP:], arrivals[WARM_UP:], reactions[WARM_UP:], rests[WARM_UP:])
    tell("memory", n=size, pss_mib=pss_mib(pids))
    tell("cpu", n=size, cpu_s_per_push=median(cpu[WARM_UP:]))


async def _push(tree: WorkTree, index: int, value: str) -> tuple[str, float]:
    """Change one ConfigMap; returns the commit, and when the push had ended."""
    commit = tree.commit({f"manifests/cm-{index:05d}.yaml": config_map(index, value)}, f"change {index}")
    await git("push", "-q", "origin", "main", cwd=tree.path)
    return commit, time.time()


def _tell(size: int, pushes: list[float], arrivals: list[float], reactions: list[Cost], rests: list[Cost]) -> None:
    applied, limit, rest = median(arrivals), typical(reactions), typical(rests)
    tell(
        "push_to_applied",
        n=size,
        p50_ms=applied * 1000,
        p90_ms=percentile(arrivals, 0.9) * 1000,
        push_p50_ms=median(pushes) * 1000,
        limit_fetch_ms=limit.fetch * 1000,
        limit_apply_ms=limit.apply * 1000,
        limit_ms=sum(limit) * 1000,
        ratio=applied / sum(limit),
        rest_limit_ms=sum(rest) * 1000,
        rest_ratio=applied / sum(rest),
        rounds=ROUNDS,
    )


async def _event(events: asyncio.Queue[tuple[float, str, dict[str, Any]]], name: str, value: str) -> float:
    async with asyncio.timeout(60):
        while True:
            arrived, _, found = await events.get()
            if found["metadata"]["name"] == name and found["data"]["value"] == value:
                return arrived
