"""1,000 ConfigMaps into an empty namespace, against a bare asyncio client at its best concurrency, in turns."""

from __future__ import annotations

import asyncio
import sys
import time

from benchmarks.bare import BareCluster
from benchmarks.out import median, tell
from benchmarks.push_to_applied import config_map
from benchmarks.stage import Stage, stage
from tests.parts.windlass import application, cluster, repository

OBJECTS = 1000
ROUNDS = 3
CONCURRENCIES = (8, 16, 32)


async def measure(sizes: list[int]) -> None:
    """``sizes`` is not used: the measure is of 1,000 objects."""
    with stage("bench-first-sync", forge=False) as parts:
        async with BareCluster(parts.kubeconfig) as bare:
            ours: list[float] = []
            limits: list[float] = []
            for number in range(ROUNDS):
                limits.append(min([await _bare_round(bare, number, width) for width in CONCURRENCIES]))
                ours.append(await _round(parts, bare, number))
            tell(
                "first_sync",
                n=OBJECTS,
                seconds=median(ours),
                limit_seconds=median(limits),
                ratio=median(ours) / median(limits),
                rounds=ROUNDS,
            )


async def _bare_round(bare: BareCluster, number: int, width: int) -> float:
    namespace = f"bare-{number}-{width}"
    await bare.create_namespace(namespace)
    seconds = await bare.apply_many(namespace, [f"cm-{i:05d}" for i in range(OBJECTS)], width)
    await bare.delete_namespace(namespace)
    return seconds


async def _round(parts: Stage, bare: BareCluster, number: int) -> float:
    namespace = name = f"first-{number}"
    await bare.create_namespace(namespace)
    files = {f"manifests/cm-{i:05d}.yaml": config_map(i, "first") for i in range(OBJECTS)}
    url = parts.bare_repository(name, files)
    windlass = parts.windlass(name)
    try:
        windlass.write(repository(name, url, forge="generic"), cluster("local", parts.kubeconfig))
        windlass.start()
        await asyncio.sleep(2)
        started = time.perf_counter()
        windlass.write(
            repository(name, url, forge="generic"),
            cluster("local", parts.kubeconfig),
            application(name, repository=name, path="manifests", namespace=namespace),
        )
        first = 0.0
        while (count := await bare.count(namespace)) < OBJECTS:
            first = first or (time.perf_counter() if count else 0.0)
            if time.perf_counter() - started > 300:
                raise RuntimeError(f"{count} of {OBJECTS} objects after 300 s:\n{windlass.log('worker')[-3000:]}")
            await asyncio.sleep(0.1)
        print((await asyncio.to_thread(windlass.last_run, name)).durations, file=sys.stderr)
        seconds = (await asyncio.to_thread(windlass.last_run, name)).durations["total"] / 1000
    finally:
        windlass.stop()
    await bare.delete_namespace(namespace)
    return seconds
