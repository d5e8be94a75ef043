"""Many objects: as fast as a bare client, found again by one list, and never holding the event loop."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable

import aiohttp
import orjson

from workers.kube.connect import Connection, client_of
from workers.kube.transport import KubeClient

from .conftest import Cluster, Harness, Secrets

OBJECTS = 1000
BEST_CONCURRENCY = 32
LONGEST_STALL = 0.05
"""Seconds of this process's own work between two turns of the loop; what others take of the cores is theirs."""


async def timed(count: int, width: int, work: Callable[[int], Awaitable[None]]) -> float:
    """Seconds that ``work`` takes for each of ``count`` numbers, ``width`` at once."""
    numbers, started = iter(range(count)), time.perf_counter()

    async def one_after_the_other() -> None:
        for number in numbers:
            await work(number)

    await asyncio.gather(*(one_after_the_other() for _ in range(width)))
    return time.perf_counter() - started


async def bare(client: KubeClient, namespace: str) -> float:
    """The limit: the same applies by aiohttp alone."""
    connector = aiohttp.TCPConnector(limit=BEST_CONCURRENCY, ssl=client._pool._context or True)
    headers = {"Content-Type": "application/apply-patch+yaml"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def apply(number: int) -> None:
            name = f"bare-{number}"
            metadata = {"name": name, "namespace": namespace, "labels": {"part-of": "x"}}
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "1"}}
            url = f"{client.server}/api/v1/namespaces/{namespace}/configmaps/{name}?fieldManager=bare"
            async with session.patch(url, data=orjson.dumps(body)) as response:
                await response.read()
                assert response.status == 201

        return await timed(OBJECTS, BEST_CONCURRENCY, apply)


async def test_a_thousand_objects_take_little_longer_than_by_a_bare_client_and_are_found_again(
    kube: Harness, connection: Connection, cluster: Cluster
) -> None:
    """The best of three rounds, interleaved: other tests may run beside this one."""
    ratios = []
    for rounds in range(3):
        client = await client_of(connection, cluster, Secrets())  # cold, as the bare one is
        applier = Harness(client, kube.discovery, kube.namespace, kube.windlass).applier("web")
        resource = await kube.resource(kube.config_map())

        async def apply(number: int, prefix: int = rounds) -> None:
            async with client.limiter:  # noqa: B023 - used within this round only
                await applier.apply(resource, kube.config_map(f"w{prefix}-{number}", a="1"), digest="h")  # noqa: B023

        limit = await bare(client, kube.namespace)
        ratios.append(await timed(OBJECTS, client.limiter.maximum, apply) / limit)
        await client.close()
        if ratios[-1] <= 1.5:
            break
        path = f"/api/v1/namespaces/{kube.namespace}/configmaps"
        await kube.client.request("DELETE", path, body=b"{}")
    assert min(ratios) <= 1.5, ratios

    applyset = kube.applyset("web")
    await applyset.ensure({"ConfigMap"}, {kube.namespace}, revision="a" * 40)
    stall, stop = 0.0, False

    async def watch_the_loop() -> None:
        nonlocal stall
        while not stop:
            before = time.thread_time()
            await asyncio.sleep(0.001)
            stall = max(stall, time.thread_time() - before)

    gc.freeze()  # collecting what a whole test run left behind is not the client's work
    try:
        watch = asyncio.create_task(watch_the_loop())
        members, unlisted = await applyset.members(kube.discovery)
        stop = True
        await watch
    finally:
        gc.unfreeze()
    assert (len(members), unlisted) == (OBJECTS, {})
    assert all(member.ours for member in members)
    assert stall < LONGEST_STALL
