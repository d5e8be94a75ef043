"""500 signed pushes a second for a minute, with 2,000 applications configured and workers running: how soon is the 202?

Once all pushes name one repository, once they are spread over 200. Real commits lie behind them, a few a second; at the
end every application must be at its last commit.
"""

from __future__ import annotations

import asyncio
import itertools
import time

import aiohttp

from benchmarks import deliveries
from benchmarks.bare import BareCluster
from benchmarks.out import percentile, tell
from benchmarks.push_to_applied import config_map
from benchmarks.stage import Stage, stage
from tests.parts.git import WorkTree
from tests.parts.windlass import Windlass, application, cluster, repository

RATE = 500
SECONDS = 60
APPLICATIONS = 2000
COMMIT_EVERY = 1.0
CONNECTIONS = 32

_NUMBERS = itertools.count()


async def measure(sizes: list[int]) -> None:
    """``sizes`` is not used: the measure is of 2,000 applications."""
    with stage("bench-ack", forge=False) as parts:
        for repositories in (1, 200):
            await _measure(parts, repositories)


async def _measure(parts: Stage, count: int) -> None:
    namespace = f"ack-{count}"
    each = APPLICATIONS // count
    names = [f"ack-{count}-{i:03d}" for i in range(count)]
    urls = {
        name: parts.bare_repository(name, dict(_manifest(place * each + i, i, "first") for i in range(each)))
        for place, name in enumerate(names)
    }
    async with BareCluster(parts.kubeconfig) as bare:
        await bare.create_namespace(namespace)
        windlass = parts.windlass(f"ack-{count}")
        try:
            windlass.write(
                cluster("local", parts.kubeconfig),
                *(repository(name, urls[name], forge="generic") for name in names),
                *(
                    application(f"{name}-{i:04d}", repository=name, path=f"app-{i:04d}", namespace=f"{namespace}")
                    for name in names
                    for i in range(each)
                ),
            )
            windlass.start()
            trees = {name: parts.open_work_tree(name) for name in names}
            if not await _settled(windlass, trees, 600):
                raise RuntimeError(f"the first sync did not end:\n{windlass.log('worker')[-3000:]}")
            heads = {name: tree.head for name, tree in trees.items()}
            stop = asyncio.Event()
            committer = asyncio.create_task(_commit(trees, heads, each, stop))
            times = await _load(windlass, names, urls, heads)
            stop.set()
            await committer
            await _announce(windlass, names, urls, trees)
            settled = await _settled(windlass, trees, 120)
            tell(
                "webhook_ack",
                repositories=count,
                applications=APPLICATIONS,
                n=len(times),
                p50_ms=percentile(times, 0.5) * 1000,
                p99_ms=percentile(times, 0.99) * 1000,
                settled=settled,
            )
        finally:
            windlass.stop()
        await bare.delete_namespace(namespace)


def _manifest(number: int, index: int, value: str) -> tuple[str, str]:
    """The one file of a repository's ``index``-th application; ``number`` names its object among all."""
    return f"app-{index:04d}/cm.yaml", config_map(number, value)


def _body(url: str, before: str, after: str) -> bytes:
    """No two are the same delivery."""
    return deliveries.body(url, after, before) + b" " * (next(_NUMBERS) % 4096)


async def _load(windlass: Windlass, names: list[str], urls: dict[str, str], heads: dict[str, str]) -> list[float]:
    times: list[float] = []
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def push(number: int) -> None:
            name = names[number % len(names)]
            body = _body(urls[name], heads[name], heads[name])
            headers = deliveries.headers(windlass, body)
            started = time.perf_counter()
            async with session.post(f"{windlass.url}/webhooks/{name}", data=body, headers=headers) as answer:
                await answer.read()
                assert answer.status in (200, 202), answer.status
            times.append(time.perf_counter() - started)

        started = time.perf_counter()
        tasks = set()
        for number in range(RATE * SECONDS):
            delay = started + number / RATE - time.perf_counter()
            if delay > 0:
                await asyncio.sleep(delay)
            task = asyncio.create_task(push(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
    return times


async def _commit(trees: dict[str, WorkTree], heads: dict[str, str], each: int, stop: asyncio.Event) -> None:
    number = 0
    names = list(trees)
    while not stop.is_set():
        tree = trees[names[number % len(names)]]
        place, index = number % len(names), number * 7919 % each
        file, content = _manifest(place * each + index, index, str(time.time()))
        heads[names[place]] = await asyncio.to_thread(tree.commit_and_push, {file: content})
        number += 1
        await asyncio.sleep(COMMIT_EVERY)


async def _announce(windlass: Windlass, names: list[str], urls: dict[str, str], trees: dict[str, WorkTree]) -> None:
    """The last push of every repository, as its forge would send it."""
    async with aiohttp.ClientSession() as session:
        for name in names:
            body = _body(urls[name], "", trees[name].head)
            async with session.post(
                f"{windlass.url}/webhooks/{name}", data=body, headers=deliveries.headers(windlass, body)
            ) as answer:
                assert answer.status in (200, 202), answer.status


async def _settled(windlass: Windlass, trees: dict[str, WorkTree], timeout: float) -> bool:
    """Is every application at the last commit of its source, and nothing waiting?"""
    deadline = time.monotonic() + timeout
    heads = {name: tree.head for name, tree in trees.items()}
    while time.monotonic() < deadline:
        if await asyncio.to_thread(windlass.settled, heads):
            return True
        await asyncio.sleep(1)
    return False
