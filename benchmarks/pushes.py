"""Pushes of one changed object each, timed; and beside each a push to a twin repository, to which only a script reacts.

The limit is the git CLI's fetch of such a commit into a warm bare store, the bare renderer where there is one, and one warm
bare server-side apply: in reaction to a webhook, as Windlass works (`limit_ms`, `ratio`), and on a forge that has come to
rest (`rest_limit_ms`, `rest_ratio`). They take turns, so that whatever else the machine does falls on both.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from benchmarks.bare import BareCluster, git
from benchmarks.out import median, percentile, tell
from benchmarks.processes import cpu_seconds
from benchmarks.reaction import LIMIT, Cost, Reaction, typical
from tests.parts.git import WorkTree
from tests.parts.windlass import Windlass

ROUNDS = 30
WARM_UP = 5
REST_SECONDS = 0.3  # the forge has done by then what it does after a push

Events = asyncio.Queue[tuple[float, str, dict[str, Any]]]
Render = Callable[[WorkTree], Awaitable[float]]
Deliver = Callable[[WorkTree, "Change"], Awaitable[tuple[str, float]]]
"""Brings a change to `main`; returns the commit that is there then, and when it had ended."""


class Change(NamedTuple):
    """What one push changes: files, and the ConfigMap and value that come of it."""

    files: dict[str, str]
    name: str
    value: str


class Pushed(NamedTuple):
    """An installation that follows one repository of a forge (and, with its webhook, what comes of a twin's pushes)."""

    bare: BareCluster
    windlass: Windlass
    work: WorkTree
    twin: WorkTree
    reaction: Reaction
    namespace: str
    name: str  # of repository and application


class Times(NamedTuple):
    """Seconds of each round."""

    pushes: list[float]
    arrivals: list[float]
    reactions: list[Cost]
    rests: list[Cost]
    renders: list[float]
    cpu: list[float]


async def applied(bare: BareCluster, windlass: Windlass, name: str, size: int) -> None:
    """The first sync is over: of the application ``name``, whose namespace is called like it."""
    deadline = time.monotonic() + 600
    while await bare.count(name) < size or not await asyncio.to_thread(windlass.revision, name):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the first sync of {size} objects did not end:\n{windlass.log('worker')[-3000:]}")
        await asyncio.sleep(0.25)
    await asyncio.sleep(2)


async def pushed(tree: WorkTree, changed: Change) -> tuple[str, float]:
    """Commit it and push."""
    commit = tree.commit(changed.files, f"change {changed.name}")
    await git("push", "-q", "origin", "main", cwd=tree.path)
    return commit, time.time()


async def rounds(
    on: Pushed, change: Callable[[int, str], Change], render: Render | None = None, deliver: Deliver = pushed
) -> Times:
    """Deliver `change(number, value)` again and again. ``render``: the seconds of the bare program on a work tree."""
    times, pids = Times([], [], [], [], [], []), on.windlass.pids
    await on.bare.create_namespace(LIMIT)
    async with on.bare.watch(on.namespace) as events:
        for number in range(ROUNDS + WARM_UP):
            changed = change(number, f"{number}-{time.time()}")
            before = cpu_seconds(pids)
            commit, delivered = await deliver(on.work, changed)
            at = await event(events, changed)
            await asyncio.sleep(REST_SECONDS)
            times.cpu.append(cpu_seconds(pids) - before)
            times.pushes.append(at - delivered)
            times.arrivals.append(at - await asyncio.to_thread(on.windlass.received, on.name, commit))
            commit, _ = await deliver(on.twin, changed)
            times.reactions.append(await on.reaction.cost(commit, changed.value))
            times.renders.append(await render(on.twin) if render is not None else 0.0)
            await asyncio.sleep(REST_SECONDS)
            resting = change(number, f"{changed.value}, at rest")
            commit, _ = await deliver(on.twin, resting)
            times.rests.append(await on.reaction.cost(commit, resting.value, rest=REST_SECONDS))
    return Times(*(values[WARM_UP:] for values in times))


async def event(events: Events, changed: Change) -> float:
    """When the watch told of the change."""
    async with asyncio.timeout(60):
        while True:
            arrived, _, found = await events.get()
            if found["metadata"]["name"] == changed.name and found["data"]["value"] == changed.value:
                return arrived


def tell_times(measure: str, size: int, times: Times) -> None:
    """The medians, and their ratios to the limits."""
    took, render = median(times.arrivals), median(times.renders)
    limit, rest = typical(times.reactions), typical(times.rests)
    tell(
        measure,
        n=size,
        p50_ms=took * 1000,
        p90_ms=percentile(times.arrivals, 0.9) * 1000,
        push_p50_ms=median(times.pushes) * 1000,
        limit_fetch_ms=limit.fetch * 1000,
        **({"limit_render_ms": render * 1000} if render else {}),
        limit_apply_ms=limit.apply * 1000,
        limit_ms=(sum(limit) + render) * 1000,
        ratio=took / (sum(limit) + render),
        rest_limit_ms=(sum(rest) + render) * 1000,
        rest_ratio=took / (sum(rest) + render),
        rounds=ROUNDS,
    )
