"""What must survive faults: killed processes, a worker that sleeps past its lease, an API server that goes away."""

from __future__ import annotations

import random
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.e2e.world import World, config_map
from tests.parts.control_plane import ControlPlane

pytestmark = pytest.mark.e2e
SEED = 20261123


class Watcher:
    """Looks at one ConfigMap's value again and again; keeps every value that it sees, in order."""

    def __init__(self, world: World, name: str) -> None:
        self.seen: list[str] = []
        self._world, self._name, self._stop = world, name, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.05):
            value = self._world.value(self._name)
            if value is not None and (not self.seen or self.seen[-1] != value):
                self.seen.append(value)


def kill_something(world: World, chosen: str) -> None:
    """kill -9 of the service, the worker or Redis (whose memory is lost), and a new one at once."""
    if chosen == "worker":
        world.windlass.workers[-1].kill()
        world.windlass.workers[-1].wait()
        world.windlass.start_worker(fresh_redis=False)
    elif chosen == "service":
        assert world.windlass.service is not None
        world.windlass.service.kill()
        world.windlass.service.wait()
        world.windlass.start_service()
    else:
        world.redis.kill()
        world.redis.start()


def test_kills_at_random_instants_during_a_hundred_pushes_lose_nothing_and_never_go_back(world: World) -> None:
    chance = random.Random(SEED)
    kills = {chance.randrange(5, 95): name for name in ("worker", "service", "redis", "worker", "redis")}
    world.push({"manifests/counter.yaml": config_map("counter", "000")})
    with Watcher(world, "counter") as watcher:
        for number in range(1, 101):
            commit = world.work.commit_and_push({"manifests/counter.yaml": config_map("counter", f"{number:03d}")})
            if number in kills:
                time.sleep(chance.random() * 0.05)
                kill_something(world, kills[number])
            world.deliver(commit)
        world.applied(world.work.head, 90)
    assert world.value("counter") == "100"
    assert watcher.seen == sorted(watcher.seen), "an older commit was applied after a newer one"


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
