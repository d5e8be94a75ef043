"""What the watcher must survive: a history that is forgotten, a Redis that lost its memory, a cluster that falls silent."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_dead_cluster import Gate, Several, kubeconfig_of
from tests.e2e.test_drift import Person, made, until
from tests.e2e.world import config_map
from tests.parts.control_plane import ControlPlane

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif("WINDLASS_TEST_KUBECONFIG" in os.environ, reason="the cluster is not ours to kill"),
]
WRITES = ("create", "update", "patch", "delete", "deletecollection")
OBJECTS = 200


@pytest.fixture
def own(parts_folder: Path, unique: str, control_plane: ControlPlane) -> Iterator[Person]:
    world = made(parts_folder, unique, control_plane)
    try:
        world.start()
        yield Person(control_plane, world)
    finally:
        world.stop()


def test_what_changed_in_a_history_that_the_cluster_forgot_is_undone(own: Person, control_plane: ControlPlane) -> None:
    """The watcher sleeps; when it wakes, its connections are gone, and nobody can tell what happened since."""
    own.have("edited", "deleted", "left")
    worker = own.world.windlass.workers[0]
    worker.send_signal(signal.SIGSTOP)
    try:
        own.edit("edited", {"data": {"value": "by hand"}}, manager="some-controller")
        own.delete("deleted")
        control_plane.stop_apiserver()
        control_plane.forget_history()
        control_plane.start_apiserver()
    finally:
        worker.send_signal(signal.SIGCONT)
    until(lambda: (own.value("edited"), own.value("deleted")) == ("git", "git"), own.world, 60)
    assert '"watch.expired"' in own.world.windlass.log("worker")
    own.edit("left", {"data": {"value": "by hand"}})
    until(lambda: own.value("left") == "git", own.world, 60)


def test_after_redis_lost_its_memory_nothing_is_touched_and_nothing_is_lost(
    own: Person, control_plane: ControlPlane
) -> None:
    def written() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = control_plane.audited(user_agent="windlass", verbs=WRITES)
        return [event for event in found if own.world.name in event["requestURI"]]

    own.have("edited")
    own.world.push({f"manifests/m{i}.yaml": config_map(f"m{i}", "1") for i in range(OBJECTS)})
    before, objects = written(), own.state().objects
    own.world.redis.kill()
    own.world.redis.start()
    until(lambda: (own.state().phase, own.state().revision) == ("Synced", own.world.work.head), own.world, 60)
    assert own.state().objects == objects
    assert [event["requestURI"] for event in written()[len(before) :]] == []
    own.edit("edited", {"data": {"value": "by hand"}})
    until(lambda: own.value("edited") == "git", own.world, 60)
    run = own.world.push({"manifests/m7.yaml": None, "manifests/m8.yaml": config_map("m8", "2")})
    assert (run.applied, run.pruned) == (1, 1)
    assert (own.value("m7"), own.value("m8")) == (None, "2")


def test_while_a_cluster_is_silent_drift_in_another_is_undone_and_its_own_when_it_answers(
    parts_folder: Path, unique: str, control_plane: ControlPlane, tmp_path: Path
) -> None:
    folder = parts_folder / unique
    folder.mkdir()
    world = Several(folder, unique, control_plane.kubeconfig)
    with Gate(control_plane.server) as gate:
        gate.open()
        try:
            world.start()
            person = Person(control_plane, world)
            world.place(gated=kubeconfig_of(tmp_path, world.kubeconfig, f"https://127.0.0.1:{gate.port}"))
            world.push({"gated/far.yaml": config_map("far", "git"), "manifests/near.yaml": config_map("near", "git")})
            for name in ("near", "far"):  # until both are watched
                until(lambda name=name: person.value(name) == "git", world, 60)  # type: ignore[misc]
                person.edit(name, {"data": {"value": "warm"}})
                until(lambda name=name: person.value(name) == "git", world, 60)  # type: ignore[misc]
            gate.shut()
            person.edit("far", {"data": {"value": "by hand"}})
            for number in range(5):
                person.edit("near", {"data": {"value": f"by hand {number}"}})
                until(lambda: person.value("near") == "git", world)
                time.sleep(1)
            assert person.value("far") == "by hand"
            gate.open()
            until(lambda: person.value("far") == "git", world, 90)
        finally:
            world.stop()
