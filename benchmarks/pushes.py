"""Pushes of one changed object each, timed, and beside each what the same takes without Windlass.

Both are measured in turns, so that whatever else the machine does falls on both.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from benchmarks.bare import BareCluster, git
from benchmarks.out import median, percentile, tell
from benchmarks.processes import cpu_seconds
from benchmarks.stage import Stage
from tests.parts.git import WorkTree
from tests.parts.windlass import Windlass

ROUNDS = 30
WARM_UP = 5
LIMIT = "bench-limit"
"""The namespace of the bare client's applies."""

Events = asyncio.Queue[tuple[float, str, dict[str, Any]]]


class Change(NamedTuple):
    """What one push changes: files, and the ConfigMap and value that come of it."""

    files: dict[str, str]
    name: str
    value: str


class Pushed(NamedTuple):
    """One installation that follows one repository of a forge."""

    parts: Stage
    bare: BareCluster
    windlass: Windlass
    work: WorkTree
    url: str
    namespace: str
    name: str  # of repository and application


class Times(NamedTuple):
    """Milliseconds (and seconds of CPU) of each round."""

    pushes: list[float]
    arrivals: list[float]
    fetches: list[float]
    renders: list[float]
    applies: list[float]
    cpu: list[float]


async def until(bare: BareCluster, windlass: Windlass, namespace: str, size: int) -> None:
    """The first sync is over."""
    deadline = time.monotonic() + 600
    while await bare.count(namespace) < size:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the first sync of {size} objects did not end:\n{windlass.log('worker')[-3000:]}")
        await asyncio.sleep(0.25)
    await asyncio.sleep(2)


async def rounds(
    on: Pushed, change: Callable[[int, str], Change], render: Callable[[], Awaitable[float]] | None = None
) -> Times:
    """Push `change(number, value)` again and again. ``render``: the seconds of the bare program on the work tree."""
    mirror = on.parts.folder / f"{on.name}-mirror.git"
    await git("clone", "-q", "--bare", on.url, str(mirror))
    await on.bare.create_namespace(LIMIT)
    times, pids = Times([], [], [], [], [], []), on.windlass.pids
    async with on.bare.watch(on.namespace) as events:
        for number in range(ROUNDS + WARM_UP):
            changed = change(number, f"{number}-{time.time()}")
            before = cpu_seconds(pids)
            commit = on.work.commit(changed.files, f"change {changed.name}")
            await git("push", "-q", "origin", "main", cwd=on.work.path)
            pushed = time.time()
            applied = await event(events, changed)
            await asyncio.sleep(0.3)
            used = cpu_seconds(pids) - before
            received = await asyncio.to_thread(on.windlass.received, on.name, commit)
            fetch = await git("fetch", "-q", "--no-tags", on.url, f"{commit}:refs/heads/main", cwd=mirror)
            rendered = await render() if render is not None else 0.0
            apply = await on.bare.apply_config_map(LIMIT, "limit", {"value": changed.value})
            if number >= WARM_UP:
                times.pushes.append((applied - pushed) * 1000)
                times.arrivals.append((applied - received) * 1000)
                times.fetches.append(fetch * 1000)
                times.renders.append(rendered * 1000)
                times.applies.append(apply * 1000)
                times.cpu.append(used)
    return times


async def event(events: Events, changed: Change) -> float:
    """When the watch told of the change."""
    async with asyncio.timeout(60):
        while True:
            arrived, _, found = await events.get()
            if found["metadata"]["name"] == changed.name and found["data"]["value"] == changed.value:
                return arrived


def tell_times(measure: str, size: int, times: Times, **more: object) -> None:
    """The medians, and their ratio to the limit."""
    rendering = {"limit_render_ms": median(times.renders)} if any(times.renders) else {}
    limit = median(times.fetches) + median(times.renders) + median(times.applies)
    tell(
        measure,
        n=size,
        p50_ms=median(times.arrivals),
        p90_ms=percentile(times.arrivals, 0.9),
        push_p50_ms=median(times.pushes),
        limit_fetch_ms=median(times.fetches),
        **rendering,
        limit_apply_ms=median(times.applies),
        limit_ms=limit,
        ratio=median(times.arrivals) / limit,
        rounds=ROUNDS,
        **more,
    )
