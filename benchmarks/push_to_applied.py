"""A push of one ConfigMap out of N: from the push, and from the webhook's arrival, to the watch event; against the raw limit.

The limit is the same commit fetched by the git CLI into a warm bare store, and one warm bare server-side apply, both
measured between the pushes, so that whatever else the machine does falls on both.
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
from benchmarks.stage import Stage, stage
from tests.parts.git import WorkTree
from tests.parts.windlass import Windlass, application, cluster, repository

ROUNDS = 30
WARM_UP = 5


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
            await _rounds(parts, bare, windlass, work, remote.clone_url, namespace, name, size, pids)
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
    parts: Stage,
    bare: BareCluster,
    windlass: Windlass,
    work: WorkTree,
    url: str,
    namespace: str,
    name: str,
    size: int,
    pids: list[int],
) -> None:
    mirror = parts.folder / f"{name}-mirror.git"
    await git("clone", "-q", "--bare", url, str(mirror))
    pushes: list[float] = []
    arrivals: list[float] = []
    fetches: list[float] = []
    applies: list[float] = []
    cpu: list[float] = []
    async with bare.watch(namespace) as events:
        for number in range(ROUNDS + WARM_UP):
            index, value = number * 7919 % size, f"{number}-{time.time()}"
            before = cpu_seconds(pids)
            commit = work.commit({f"manifests/cm-{index:05d}.yaml": config_map(index, value)}, f"change {index}")
            await git("push", "-q", "origin", "main", cwd=work.path)
            pushed = time.time()
            applied = await _event(events, f"cm-{index:05d}", value)
            await asyncio.sleep(0.3)
            used = cpu_seconds(pids) - before
            received = await asyncio.to_thread(windlass.received, name, commit)
            fetch = await git("fetch", "-q", "--no-tags", url, f"{commit}:refs/heads/main", cwd=mirror)
            apply = await bare.apply_config_map("bench-limit", "limit", {"value": value})
            if number >= WARM_UP:
                pushes.append((applied - pushed) * 1000)
                arrivals.append((applied - received) * 1000)
                fetches.append(fetch * 1000)
                applies.append(apply * 1000)
                cpu.append(used)
    limit = median(fetches) + median(applies)
    tell(
        "push_to_applied",
        n=size,
        p50_ms=median(arrivals),
        p90_ms=percentile(arrivals, 0.9),
        push_p50_ms=median(pushes),
        limit_fetch_ms=median(fetches),
        limit_apply_ms=median(applies),
        limit_ms=limit,
        ratio=median(arrivals) / limit,
        rounds=ROUNDS,
    )
    tell("memory", n=size, pss_mib=pss_mib(pids))
    tell("cpu", n=size, cpu_s_per_push=median(cpu))


async def _event(events: asyncio.Queue[tuple[float, str, dict[str, Any]]], name: str, value: str) -> float:
    async with asyncio.timeout(60):
        while True:
            arrived, _, found = await events.get()
            if found["metadata"]["name"] == name and found["data"]["value"] == value:
                return arrived
