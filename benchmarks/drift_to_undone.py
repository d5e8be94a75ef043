"""A foreign change of one ConfigMap out of N: from the change's answer to the watch event of its undoing; 100 in a row, too.

The other manager is a controller, not a person: it is asked for its field back (409), looked at and overruled, the
longest way that a heal takes.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson

from benchmarks.bare import BareCluster
from benchmarks.out import median, percentile, tell
from benchmarks.push_to_applied import config_map
from benchmarks.stage import Stage, stage
from tests.parts.windlass import application, cluster, repository

ROUNDS = 30
WARM_UP = 3
IN_A_ROW = 100
GIT, FOREIGN = "first", "foreign"

Events = asyncio.Queue[tuple[float, str, dict[str, Any]]]


async def measure(sizes: list[int]) -> None:
    with stage("bench-drift", forge=False) as parts:
        for size in sizes:
            await _measure(parts, size)


async def _measure(parts: Stage, size: int) -> None:
    namespace = name = f"drift-{size}"
    async with BareCluster(parts.kubeconfig) as bare:
        await bare.create_namespace(namespace)
        url = parts.bare_repository(name, {f"manifests/cm-{i:05d}.yaml": config_map(i, GIT) for i in range(size)})
        windlass = parts.windlass(name)
        try:
            windlass.write(
                repository(name, url, forge="generic"),
                cluster("local", parts.kubeconfig),
                application(name, repository=name, path="manifests", namespace=namespace),
            )
            windlass.start()
            await settled(bare, windlass, name, namespace, size)
            async with bare.watch(namespace) as events:
                spread = [await undone(bare, events, namespace, n * 7919 % size) for n in range(ROUNDS + WARM_UP)]
                row = [await undone(bare, events, namespace, 0) for _ in range(IN_A_ROW)]
            spread = spread[WARM_UP:]
            tell(
                "drift_to_undone",
                n=size,
                p50_ms=median(spread),
                p90_ms=percentile(spread, 0.9),
                row_p50_ms=median(row),
                row_max_ms=max(row),
                rounds=ROUNDS,
                in_a_row=IN_A_ROW,
            )
        finally:
            windlass.stop()


async def settled(bare: BareCluster, windlass: Any, name: str, namespace: str, size: int) -> None:
    """Everything is applied, and what is watched has been compared."""
    deadline = time.monotonic() + 600
    while await bare.count(namespace) < size or '"drift.compared"' not in windlass.log("worker"):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the first sync of {size} objects did not end:\n{windlass.log('worker')[-3000:]}")
        await asyncio.sleep(0.25)
    await asyncio.to_thread(windlass.last_run, name)
    await asyncio.sleep(3)


async def undone(bare: BareCluster, events: Events, namespace: str, index: int) -> float:
    """Milliseconds until one foreign change is undone."""
    name = f"cm-{index:05d}"
    async with bare.session.patch(
        f"{bare.server}/api/v1/namespaces/{namespace}/configmaps/{name}",
        params={"fieldManager": "some-controller"},
        data=orjson.dumps({"data": {"value": FOREIGN}}),
        headers={"Content-Type": "application/merge-patch+json"},
    ) as answer:
        changed = orjson.loads(await answer.read())
        answered = time.time()
    assert changed["data"]["value"] == FOREIGN, changed
    version = int(changed["metadata"]["resourceVersion"])
    async with asyncio.timeout(60):
        while True:
            arrived, _, found = await events.get()
            metadata = found["metadata"]
            newer = metadata["name"] == name and int(metadata["resourceVersion"]) > version
            if newer and found["data"]["value"] == GIT:
                return (arrived - answered) * 1000
