"""1,000 applications of 4 objects in one repository: a commit that touches one object of each, and one that touches a single one.

The limit of the first is a bare client's same 1,000 applies; of the second, what `push_to_applied` has for a limit.
"""

from __future__ import annotations

import asyncio
import sys
import time

from benchmarks.bare import BareCluster, git
from benchmarks.deliveries import deliver
from benchmarks.out import median, percentile, tell
from benchmarks.push_to_applied import config_map
from benchmarks.pushes import Change, Events, event
from benchmarks.reaction import LIMIT
from benchmarks.stage import Stage, stage
from tests.parts.git import WorkTree
from tests.parts.windlass import Windlass, application, cluster, repository

APPLICATIONS, OBJECTS = 1000, 4
ROUNDS, SINGLE_ROUNDS, WARM_UP = 3, 30, 3
WIDTHS = (8, 16, 32)
"""The bare client's applies at once; the best counts."""
NAME = "thousand"


async def measure(sizes: list[int]) -> None:
    """``sizes`` is not used: the measure is of 1,000 applications."""
    with stage("bench-thousand", forge=False) as parts:
        async with BareCluster(parts.kubeconfig) as bare:
            await bare.create_namespace(NAME)
            url = parts.bare_repository(NAME, _files(range(OBJECTS), "first"))
            windlass = parts.windlass(NAME)
            try:
                windlass.write(
                    repository(NAME, url, forge="generic"),
                    cluster("local", parts.kubeconfig),
                    *(
                        application(f"app-{i:04d}", repository=NAME, path=f"app-{i:04d}", namespace=NAME)
                        for i in range(APPLICATIONS)
                    ),
                )
                windlass.start()
                work = parts.open_work_tree(NAME)
                await _settled(windlass, work, 600)
                await _all(bare, windlass, work, url)
                await _single(parts, bare, windlass, work, url)
            finally:
                windlass.stop()


def _number(application: int, place: int) -> int:
    return application * OBJECTS + place


def _files(places: range, value: str) -> dict[str, str]:
    """The objects of these places in every application."""
    return {
        f"app-{i:04d}/cm-{place}.yaml": config_map(_number(i, place), value)
        for i in range(APPLICATIONS)
        for place in places
    }


async def _all(bare: BareCluster, windlass: Windlass, work: WorkTree, url: str) -> None:
    ours, limits = list[float](), list[float]()
    for number in range(ROUNDS):
        names = [f"cm-{i:05d}" for i in range(APPLICATIONS)]
        namespace = f"bare-{number}"
        await bare.create_namespace(namespace)
        await bare.apply_many(namespace, names, WIDTHS[1])  # they are there already, as ours are
        limits.append(min([await _bare_round(bare, namespace, names, width) for width in WIDTHS]))
        await bare.delete_namespace(namespace)
        value = f"{number}-{time.time()}"
        async with bare.watch(NAME) as events:
            commit = await asyncio.to_thread(
                work.commit_and_push, _files(range(number % OBJECTS, number % OBJECTS + 1), value)
            )
            received = time.time()
            await deliver(windlass, NAME, url, commit)
            ours.append(await _every(events, value) - received)
        await _settled(windlass, work, 120)
        print((await asyncio.to_thread(windlass.last_run, "app-0999")).durations, file=sys.stderr)
    tell(
        "thousand_apps",
        n=APPLICATIONS,
        seconds=median(ours),
        limit_seconds=median(limits),
        ratio=median(ours) / median(limits),
        rounds=ROUNDS,
    )


async def _bare_round(bare: BareCluster, namespace: str, names: list[str], width: int) -> float:
    """The same applies as ours: of objects that are there, with a new value."""
    value = f"{width}-{time.time()}"
    return await bare.apply_many(namespace, names, width, value=value)


async def _every(events: Events, value: str) -> float:
    """When the watch had told of ``value`` in one object of each application."""
    left = APPLICATIONS
    async with asyncio.timeout(300):
        while True:
            arrived, _, found = await events.get()
            left -= found["data"]["value"] == value
            if not left:
                return arrived


async def _single(parts: Stage, bare: BareCluster, windlass: Windlass, work: WorkTree, url: str) -> None:
    mirror = parts.folder / f"{NAME}-mirror.git"
    await git("clone", "-q", "--bare", url, str(mirror))
    await bare.create_namespace(LIMIT)
    arrivals, fetches, applies = list[float](), list[float](), list[float]()
    async with bare.watch(NAME) as events:
        for number in range(SINGLE_ROUNDS + WARM_UP):
            index, value = number * 37 % APPLICATIONS, f"{number}-{time.time()}"
            name = f"cm-{_number(index, 3):05d}"
            change = Change({f"app-{index:04d}/cm-3.yaml": config_map(_number(index, 3), value)}, name, value)
            commit = await asyncio.to_thread(work.commit_and_push, change.files)
            received = time.time()
            await deliver(windlass, NAME, url, commit)
            applied = await event(events, change)
            await asyncio.sleep(0.2)
            fetch = await git("fetch", "-q", "--no-tags", url, f"{commit}:refs/heads/main", cwd=mirror)
            apply = await bare.apply_config_map(LIMIT, "limit", {"value": value})
            if number >= WARM_UP:
                arrivals.append((applied - received) * 1000)
                fetches.append(fetch * 1000)
                applies.append(apply * 1000)
    limit = median(fetches) + median(applies)
    tell(
        "thousand_apps_single",
        n=APPLICATIONS,
        p50_ms=median(arrivals),
        p90_ms=percentile(arrivals, 0.9),
        limit_fetch_ms=median(fetches),
        limit_apply_ms=median(applies),
        limit_ms=limit,
        ratio=median(arrivals) / limit,
        rounds=SINGLE_ROUNDS,
    )


async def _settled(windlass: Windlass, work: WorkTree, seconds: float) -> None:
    """Every application is at the last commit."""
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(windlass.settled, {NAME: work.head}):
        if time.monotonic() > deadline:
            raise RuntimeError(f"not settled within {seconds:.0f} s:\n{windlass.log('worker')[-3000:]}")
        await asyncio.sleep(0.25)
