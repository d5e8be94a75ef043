"""What must survive faults: killed processes, a worker that sleeps past its lease, an API server that goes away."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import signal
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis

from tests.e2e.world import World, config_map
from tests.parts.control_plane import ControlPlane
from tests.parts.waiting import until
from windlass.documents.types import Cluster, ClusterSpec
from windlass.secrets import Secrets
from workers.kube.connect import connect
from workers.kube.managed_fields import PART_OF

pytestmark = pytest.mark.e2e
SEED = 20261123
ROWS = (("worker", "service"), ("redis", "worker"), ("service", "redis"))
"""What is killed amid a row of pushes, and what around its last one. Only one then: the next could save what it lost."""
PUSHES = 34
COPIES = 60
"""Objects that every push changes: runs that last long enough to be hit."""


class Witness:
    """Hears of every change of the namespace's ConfigMaps from the API server; keeps each one's values, in order."""

    def __init__(self, world: World) -> None:
        self.values: dict[str, list[str]] = defaultdict(list)
        self._document = Cluster("witnessed", ClusterSpec(kubeconfig=str(world.kubeconfig)))
        self._path = f"/api/v1/namespaces/{world.name}/configmaps"
        self._loop = asyncio.new_event_loop()
        self._watching = self._loop.create_task(self._watch())
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._watching,))

    def __enter__(self) -> Witness:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._watching.cancel)
        self._thread.join()
        self._loop.run_until_complete(asyncio.sleep(0.1))  # the session's sockets are closed by the loop
        self._loop.close()

    async def _watch(self) -> None:
        client, params = await connect(self._document, Secrets()), {"labelSelector": PART_OF}
        with contextlib.suppress(asyncio.CancelledError):
            while True:  # a server may end a watch at any time; the next one goes on where it ended
                async for event in client.watch(self._path, params=params, seconds=600):
                    metadata = event["object"]["metadata"]
                    params["resourceVersion"] = metadata["resourceVersion"]
                    self.values[metadata["name"]].append(event["object"]["data"]["value"])
        await client.close()

    def last(self) -> set[str]:
        """What the copies hold now."""
        if self._watching.done():
            raise AssertionError("nobody watches") from self._watching.exception()
        return {values[-1] for name, values in self.values.items() if name.startswith("copy")}


class Kills:
    """kill -9 of the service, a worker or Redis (whose memory is lost), and a new one at once."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self._world, self._chance = world, chance

    def of(self, name: str) -> None:
        if name == "worker":
            running = [process for process in self._world.windlass.workers if process.poll() is None]
            self._end(self._chance.choice(running))
            self._world.windlass.start_worker(fresh_redis=False)
        elif name == "service":
            assert self._world.windlass.service is not None
            self._end(self._world.windlass.service)
            self._world.windlass.start_service()
        else:
            self._world.redis.kill()
            self._world.redis.start()

    def soon(self, name: str) -> None:
        """Within the next 100 ms: a delivery, a fetch and a run take about as long."""
        time.sleep(self._chance.uniform(0, 0.1))
        self.of(name)

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()


class Span(NamedTuple):
    """When one worker had the application in hand, by its own log."""

    start: datetime
    end: datetime
    worker: str
    revision: str


def spans(world: World) -> list[Span]:
    """All runs of the application, in order; a killed worker's last one ends with the last that it said."""
    found: list[Span] = []
    for path in world.windlass.folder.glob("worker-*.log"):
        begun: dict[str, Any] | None = None
        for event in map(json.loads, path.read_text().splitlines()):
            at = datetime.fromisoformat(event["timestamp"])
            if event["event"] == "application.begun":
                begun = event
            elif event["event"] == "application.left":
                assert begun is not None
                found.append(Span(datetime.fromisoformat(begun["timestamp"]), at, path.name, event["revision"]))
                begun = None
        if begun is not None:
            found.append(Span(datetime.fromisoformat(begun["timestamp"]), at, path.name, begun["revision"]))
    return sorted(found)


def numbered(number: int) -> dict[str, str | bytes | None]:
    copies = "---\n".join(config_map(f"copy{i:02d}", f"{number:03d}") for i in range(COPIES))
    return {"manifests/copies.yaml": copies}


@pytest.fixture
def alone(parts_folder: Path, unique: str, kubeconfig: Path) -> Iterator[World]:
    """A world in which nobody finds by a poll what the webhooks' way lost."""
    folder = parts_folder / unique
    folder.mkdir()
    made = World(folder, unique, kubeconfig)
    made.windlass.environment |= {"WINDLASS_POLL": "86400", "WINDLASS_LOG": "debug"}
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_kills_around_the_last_push_and_before_lose_nothing_and_never_go_back(alone: World) -> None:
    """A hundred pushes in three rows; each ends with a kill around its last push, after which nobody pushes again."""
    world, chance = alone, random.Random(SEED)
    kills = Kills(world, chance)
    world.windlass.start_worker(fresh_redis=False)
    with Witness(world) as witness, ThreadPoolExecutor(1) as forge:
        for row, (amid, around_the_last) in enumerate(ROWS):
            newest, hit = (row + 1) * PUSHES, row * PUSHES + chance.randrange(2, PUSHES - 2)
            for number in range(row * PUSHES + 1, newest + 1):
                commit = world.work.commit_and_push(numbered(number))
                delivery = forge.submit(world.deliver, commit)
                if number in (hit, newest):
                    kills.soon(amid if number == hit else around_the_last)
                delivery.result()
            world.applied_completely(commit, 60)
            assert world.value("copy00") == f"{newest:03d}"
            until(lambda text=f"{newest:03d}": witness.last() == {text}, show=lambda: str(dict(witness.values)))  # type: ignore[misc]

    for name, values in witness.values.items():
        assert values == sorted(values), f"{name}: an older commit was applied after a newer one"
    runs = spans(world)
    assert len({run.worker for run in runs}) > 1, "all was done by one worker"
    for one, next_one in itertools.pairwise(runs):
        assert one.end <= next_one.start, f"two runs at once: {one} and {next_one}"


def test_a_killed_workers_run_goes_on_elsewhere_within_fifteen_seconds(world: World) -> None:
    files: dict[str, str | bytes | None] = {f"manifests/m{i}.yaml": config_map(f"m{i}", "1") for i in range(1500)}
    commit = world.work.commit_and_push(files)
    world.deliver(commit)
    deadline = time.monotonic() + 20
    while world.value("m0") is None and world.value("m5") is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    world.windlass.workers[0].kill()
    killed = time.monotonic()
    world.windlass.start_worker(fresh_redis=False)
    world.applied(commit, 60)
    starts = [run.started for run in world.runs() if run.revision == commit]
    assert starts
    assert starts[-1] - (time.time() - (time.monotonic() - killed)) < 15
    assert world.value("m1499") == "1"


def test_a_worker_that_sleeps_past_its_lease_writes_nothing_old_when_it_wakes(world: World) -> None:
    sleeper = world.windlass.workers[0]
    files: dict[str, str | bytes | None] = {f"manifests/m{i}.yaml": config_map(f"m{i}", "old") for i in range(800)}
    commit = world.work.commit_and_push(files)
    world.deliver(commit)
    deadline = time.monotonic() + 20
    while world.value("m0") is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    sleeper.send_signal(signal.SIGSTOP)
    try:
        world.windlass.start_worker(fresh_redis=False)
        newer = world.work.commit_and_push({f"manifests/m{i}.yaml": config_map(f"m{i}", "new") for i in range(800)})
        world.deliver(newer)
        world.applied(newer, 90)
    finally:
        sleeper.send_signal(signal.SIGCONT)
    time.sleep(5)
    values = {world.value(f"m{i}") for i in (0, 1, 100, 400, 799)}
    assert values == {"new"}
    assert world.windlass.revision(world.name) == newer


def test_a_redis_that_is_full_refuses_deliveries_and_nothing_is_worse_once_it_has_room(world: World) -> None:
    world.push({"manifests/m.yaml": config_map("m", "1")})
    commit = world.work.commit_and_push({"manifests/m.yaml": config_map("m", "2")})
    with redis.Redis.from_url(world.redis.url) as connection, ThreadPoolExecutor(1) as forge:
        connection.config_set("maxmemory", "1")
        delivery = forge.submit(world.deliver, commit)  # sent again for as long as it is refused
        time.sleep(5)
        assert not delivery.done()
        connection.config_set("maxmemory", "0")
        assert delivery.result()[0] in (200, 202)
    world.applied(commit)
    assert all(worker.poll() is None for worker in world.windlass.workers)


def test_an_api_server_that_goes_away_during_an_apply_costs_nothing_but_time(parts_folder: Path, unique: str) -> None:
    folder = parts_folder / unique
    folder.mkdir()
    with ControlPlane(folder / "plane") as plane:
        world = World(folder, unique, plane.kubeconfig)
        try:
            world.start()
            commit = world.work.commit_and_push({f"manifests/m{i}.yaml": config_map(f"m{i}", "1") for i in range(1000)})
            world.deliver(commit)
            deadline = time.monotonic() + 20
            while world.value("m0") is None:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            plane.stop_apiserver()
            time.sleep(2)
            plane.start_apiserver()
            world.applied_completely(commit, 90)
            assert (world.value("m0"), world.value("m999")) == ("1", "1")
        finally:
            world.stop()
