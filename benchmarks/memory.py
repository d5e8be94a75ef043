"""What 10,000 owned objects under watch take in memory, beside 100: a service, and one worker that is the watcher too.

Pushes and undone changes come first, so that what is kept of them counts.
"""

from __future__ import annotations

import asyncio
import time

from benchmarks.bare import BareCluster
from benchmarks.deliveries import deliver
from benchmarks.drift_to_undone import GIT, settled, undone
from benchmarks.out import tell
from benchmarks.processes import pss_mib, rss_mib
from benchmarks.push_to_applied import config_map
from benchmarks.pushes import Change, event
from benchmarks.stage import Stage, stage
from tests.parts.windlass import application, cluster, repository

SIZES = (100, 10_000)
ROUNDS = 20
REST_SECONDS = 5


async def measure(sizes: list[int]) -> None:
    """``sizes`` is not used: the measure is of 10,000 objects, and of 100 to compare them with."""
    with stage("bench-memory", forge=False) as parts:
        for size in SIZES:
            await _measure(parts, size)


async def _measure(parts: Stage, size: int) -> None:
    name = f"memory-{size}"
    async with BareCluster(parts.kubeconfig) as bare:
        await bare.create_namespace(name)
        url = parts.bare_repository(name, {f"manifests/cm-{i:05d}.yaml": config_map(i, GIT) for i in range(size)})
        work, windlass = parts.open_work_tree(name), parts.windlass(name)
        try:
            windlass.write(
                repository(name, url, forge="generic"),
                cluster("local", parts.kubeconfig),
                application(name, repository=name, path="manifests", namespace=name),
            )
            windlass.start()
            await settled(bare, windlass, name, name, size)
            synced = pss_mib(windlass.pids)
            async with bare.watch(name) as events:
                for number in range(ROUNDS):
                    await undone(bare, events, name, number * 7919 % size)
                for number in range(ROUNDS):
                    index, value = number * 37 % size, f"{number}-{time.time()}"
                    changed = f"cm-{index:05d}"
                    change = Change({f"manifests/{changed}.yaml": config_map(index, value)}, changed, value)
                    commit = await asyncio.to_thread(work.commit_and_push, change.files)
                    await deliver(windlass, name, url, commit)
                    await event(events, change)
            await asyncio.sleep(REST_SECONDS)
            service = rss_mib(windlass.pids[0])
            tell("memory", watched=size, pss_mib=pss_mib(windlass.pids), synced_mib=synced, service_rss_mib=service)
        finally:
            windlass.stop()
        await bare.delete_namespace(name)
