"""Drift, whole: what anybody changes behind Git's back in the cluster is undone, or reported where that is wished."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client
import yaml

from tests.e2e.world import World, config_map
from tests.parts.control_plane import ControlPlane
from tests.parts.windlass import application, cluster, repository
from windlass.state import ApplicationState, read_state

pytestmark = pytest.mark.e2e
SECONDS = 30.0
"""How long anything may take on a busy machine."""


def until(true: Callable[[], object], world: World, seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, world.windlass.log("worker")[-6000:]
        time.sleep(0.01)


class Person:
    """Whoever works on the cluster by hand."""

    def __init__(self, plane: ControlPlane, world: World) -> None:
        self._plane, self.world = plane, world

    def path(self, name: str, kind: str = "configmaps") -> str:
        root = "/apis/apps/v1" if kind == "deployments" else "/api/v1"
        return f"{root}/namespaces/{self.world.name}/{kind}/{name}"

    def get(self, name: str, kind: str = "configmaps") -> dict[str, Any] | None:
        try:
            return self._plane.request("GET", self.path(name, kind))
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def edit(
        self,
        name: str,
        change: dict[str, Any],
        *,
        kind: str = "configmaps",
        manager: str = "kubectl-edit",
        sub: str = "",
    ) -> None:
        patch = "strategic-merge-patch" if kind == "deployments" else "merge-patch"
        self._plane.request(
            "PATCH",
            f"{self.path(name, kind)}{sub}?fieldManager={manager}",
            change,
            content_type=f"application/{patch}+json",
        )

    def delete(self, name: str) -> None:
        self._plane.request("DELETE", self.path(name))

    def value(self, name: str) -> str | None:
        found = self.get(name)
        return found["data"].get("value") if found else None

    def managers(self, name: str, kind: str = "configmaps") -> set[str]:
        found = self.get(name, kind)
        assert found is not None
        return {entry["manager"] for entry in found["metadata"]["managedFields"] if "subresource" not in entry}

    def have(self, *names: str) -> None:
        """Objects by Git, and the watcher at work on them: a first change, undone."""
        self.world.push({f"manifests/{name}.yaml": config_map(name, "git") for name in names})
        for name in names:
            self.edit(name, {"data": {"value": "warm"}})
            until(lambda name=name: self.value(name) == "git", self.world)

    def state(self) -> ApplicationState:
        async def read() -> ApplicationState:
            async with redis_client.asyncio.Redis.from_url(self.world.redis.url) as connection:
                return await read_state(connection, self.world.name)

        return asyncio.run(read())

    def documents(self, **spec: Any) -> None:
        """Write the world's documents anew, with more in the application's, and wait until they are followed."""
        world, before = self.world, self.state().document
        world.windlass.write(
            repository(world.name, world.url, forge="generic"),
            cluster("local", world.kubeconfig),
            application(world.name, repository=world.name, path="manifests", namespace=world.name, **spec),
        )
        until(lambda: self.state().document != before, world)


def made(folder: Path, name: str, plane: ControlPlane) -> World:
    folder = folder / name
    folder.mkdir()
    return World(folder, name, plane.kubeconfig)


@pytest.fixture(scope="module")
def person(parts_folder: Path, control_plane: ControlPlane) -> Iterator[Person]:
    """One installation for the tests that only change objects of their own."""
    world = made(parts_folder, f"drift{time.time_ns()}", control_plane)
    try:
        world.start()
        yield Person(control_plane, world)
    finally:
        world.stop()


@pytest.fixture
def own(parts_folder: Path, unique: str, control_plane: ControlPlane) -> Iterator[Person]:
    """An installation that the test may break."""
    world = made(parts_folder, unique, control_plane)
    try:
        world.start()
        yield Person(control_plane, world)
    finally:
        world.stop()


@pytest.mark.parametrize("manager", ["kubectl-edit", "some-controller"])
def test_a_change_is_undone_and_leaves_no_trace(person: Person, manager: str) -> None:
    name = f"changed-by-{manager}"
    person.have(name)
    person.edit(name, {"data": {"value": "by hand", "more": "by hand"}}, manager="kubectl-edit")
    until(lambda: (person.get(name) or {})["data"] == {"value": "git"}, person.world)
    until(lambda: person.managers(name) == {f"windlass/{person.world.name}"}, person.world)
    person.edit(name, {"data": {"value": "again"}}, manager=manager)
    until(lambda: person.value(name) == "git", person.world)


def test_a_deletion_is_undone(person: Person) -> None:
    person.have("deleted")
    person.delete("deleted")
    until(lambda: person.value("deleted") == "git", person.world)


@pytest.mark.parametrize("label", [None, "another"])
def test_a_label_that_went_comes_back_to_the_same_object(person: Person, label: str | None) -> None:
    name = f"label-{label or 'removed'}"
    person.have(name)
    before = person.get(name)
    assert before is not None
    person.edit(name, {"metadata": {"labels": {"applyset.kubernetes.io/part-of": label}}}, manager="kubectl-label")
    until(lambda: (person.get(name) or {})["metadata"].get("labels") == before["metadata"]["labels"], person.world)
    after = person.get(name)
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


def deployment(name: str) -> str:
    container = {"name": "web", "image": "nginx:1"}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
    return yaml.safe_dump({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec})


def containers(person: Person, name: str) -> list[str]:
    found = person.get(name, "deployments")
    return [] if found is None else [one["name"] for one in found["spec"]["template"]["spec"]["containers"]]


def test_a_sidecar_that_a_person_adds_is_removed_and_status_updates_cost_a_few_reads_at_most(
    person: Person, control_plane: ControlPlane
) -> None:
    person.world.push({"manifests/web.yaml": deployment("web")})
    sidecar = {"spec": {"template": {"spec": {"containers": [{"name": "spy", "image": "spy:1"}]}}}}

    def sidecar_comes_and_goes() -> None:
        person.edit("web", sidecar, kind="deployments")
        until(lambda: containers(person, "web") == ["web"], person.world)

    def requests() -> list[dict[str, Any]]:
        return [e for e in control_plane.audited(user_agent="windlass") if e["requestURI"].startswith(path)]  # type: ignore[attr-defined]

    path = person.path("web", "deployments")
    sidecar_comes_and_goes()
    before = len(requests())
    for number in range(20):
        status = {"status": {"observedGeneration": 1, "collisionCount": number}}
        person.edit("web", status, kind="deployments", manager="some-controller", sub="/status")
    sidecar_comes_and_goes()  # its event comes after those of the updates
    heal = len(requests()) - before  # a few; one more for each other writer that comes between
    assert 0 < heal < 20, "the updates cost requests"


def test_what_prune_left_behind_and_people_delete_stays_away(own: Person) -> None:
    own.documents(sync={"prune": False})
    own.have("left", "owned")
    own.world.push({"manifests/left.yaml": None})
    own.delete("left")
    own.delete("owned")
    until(lambda: own.value("owned") == "git", own.world)
    assert own.value("left") is None


def test_without_self_heal_drift_is_reported_and_cleared_when_it_is_equal_again(own: Person) -> None:
    own.documents(sync={"selfHeal": False})
    own.world.push({f"manifests/{name}.yaml": config_map(name, "git") for name in ("edited", "deleted")})
    own.edit("edited", {"data": {"value": "by hand"}}, manager="some-controller")
    own.delete("deleted")
    told = {
        f"ConfigMap/{own.world.name}/edited": "changed by some-controller",
        f"ConfigMap/{own.world.name}/deleted": "deleted",
    }
    until(lambda: own.state().drift.objects == told, own.world)
    assert (own.value("edited"), own.value("deleted")) == ("by hand", None)
    assert own.world.windlass.run("sync", own.world.name).returncode == 0
    until(lambda: own.state().drift.count == 0, own.world)
    assert (own.value("edited"), own.value("deleted")) == ("git", "git")


def test_switching_self_heal_on_undoes_what_was_reported(own: Person) -> None:
    own.documents(sync={"selfHeal": False})
    own.world.push({"manifests/edited.yaml": config_map("edited", "git")})
    own.edit("edited", {"data": {"value": "by hand"}})
    until(lambda: own.state().drift.count == 1, own.world)
    own.documents()
    until(lambda: own.value("edited") == "git" and own.state().drift.count == 0, own.world)


def test_a_killed_watcher_is_followed_and_what_happened_meanwhile_is_undone(own: Person) -> None:
    own.have("edited", "deleted")
    own.world.windlass.start_worker(fresh_redis=False)
    holder = own.world.windlass.workers[0]
    time.sleep(2)  # the second one is waiting for the lease by now, or soon: both are right
    holder.kill()
    killed = time.monotonic()
    own.edit("edited", {"data": {"value": "by hand"}})
    own.delete("deleted")
    until(lambda: own.value("edited") == "git" and own.value("deleted") == "git", own.world)
    print(f"undone {time.monotonic() - killed:.1f} s after the kill")
    own.edit("edited", {"data": {"value": "again"}})
    until(lambda: own.value("edited") == "git", own.world)


def test_what_was_changed_while_nobody_watched_is_undone(own: Person) -> None:
    own.have("edited", "deleted")
    own.world.windlass.workers[0].terminate()
    own.world.windlass.workers[0].wait(30)
    own.edit("edited", {"data": {"value": "by hand"}})
    own.delete("deleted")
    own.world.windlass.start_worker(fresh_redis=False)
    until(lambda: own.value("edited") == "git" and own.value("deleted") == "git", own.world)


def test_an_endless_fight_is_slowed_named_and_never_given_up(own: Person) -> None:
    own.have("contested")
    healed_at: list[float] = []
    end = time.monotonic() + 25
    while time.monotonic() < end:
        own.edit("contested", {"data": {"value": "mine"}}, manager="rival-controller")
        until(lambda: own.value("contested") == "git", own.world)
        healed_at.append(time.monotonic())
        if len(healed_at) == 15:
            break
    assert len(healed_at) == 15
    gaps = [later - earlier for earlier, later in itertools.pairwise(healed_at)]
    assert min(gaps[-3:]) > 0.5, gaps
    key = f"ConfigMap/{own.world.name}/contested"
    until(lambda: own.state().drift.fights == {key: "rival-controller"}, own.world)
    assert '"manager":"rival-controller"' in own.world.windlass.log("worker")


def test_a_kind_that_comes_with_a_commit_is_watched_and_survives_its_definition_being_deleted(
    own: Person, control_plane: ControlPlane
) -> None:
    group = f"{own.world.name}.example.com"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"boats.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "boats", "singular": "boat", "kind": "Boat"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }
    boat = {"apiVersion": f"{group}/v1", "kind": "Boat", "metadata": {"name": "ketch"}, "spec": {"masts": 2}}
    own.world.push({"manifests/crd.json": json.dumps(definition), "manifests/boat.json": json.dumps(boat)})
    path = f"/apis/{group}/v1/namespaces/{own.world.name}/boats/ketch"

    def masts() -> object:
        found = own.world.cluster.get(path)
        return found["spec"]["masts"] if found else None

    def uid() -> object:
        found = own.world.cluster.get(path)
        return found["metadata"]["uid"] if found else None

    change, kind = {"spec": {"masts": 3}}, "application/merge-patch+json"
    control_plane.request("PATCH", path + "?fieldManager=kubectl-edit", change, content_type=kind)
    until(lambda: masts() == 2, own.world)
    first = uid()
    control_plane.request("DELETE", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/boats.{group}")
    until(lambda: uid() != first, own.world)
    until(lambda: masts() == 2, own.world, 60)
    control_plane.request("PATCH", path + "?fieldManager=kubectl-edit", change, content_type=kind)
    until(lambda: masts() == 2, own.world, 60)


def test_where_the_manifest_is_not_to_be_had_a_whole_run_undoes_the_drift(own: Person) -> None:
    own.have("lost")
    field = f"ConfigMap/{own.world.name}/lost"
    with redis_client.Redis.from_url(own.world.redis.url) as connection:
        key = f"windlass:app:{own.world.name}:objects"
        entry = connection.hget(key, field)
        assert isinstance(entry, bytes)
        connection.hset(key, field, entry.rsplit(b" ", 1)[0] + b" manifests/no-such-file.yaml")
    own.delete("lost")
    until(lambda: own.value("lost") == "git", own.world)
    assert "drift.whole_run" in own.world.windlass.log("worker")


def test_an_api_server_that_restarts_is_watched_again(own: Person, control_plane: ControlPlane) -> None:
    """What changes as soon as it is back is seen, whether the watch was there already or not."""
    own.have("a")
    control_plane.stop_apiserver()
    time.sleep(1)
    control_plane.start_apiserver()
    for number in range(3):
        own.edit("a", {"data": {"value": f"by hand {number}"}})
        until(lambda: own.value("a") == "git", own.world, 60)


def test_a_watcher_of_its_own_undoes_drift_and_another_takes_its_place(
    parts_folder: Path, unique: str, control_plane: ControlPlane
) -> None:
    """As the chart runs it: workers that don't watch, and two watchers of which one holds each cluster."""
    world = made(parts_folder, unique, control_plane)
    world.windlass.settings["worker"] = {"WINDLASS_WATCH": "false"}
    watchers = []
    try:
        world.start()
        person = Person(control_plane, world)
        watchers = [world.windlass.spawn("watcher"), world.windlass.spawn("watcher")]
        person.have("a")
        assert '"watcher.started"' not in world.windlass.log("worker")
        logs = [path.read_text() for path in sorted(world.windlass.folder.glob("watcher-*.log"))]
        (holder,) = [one for one, log in zip(watchers, logs, strict=True) if '"watcher.started"' in log]
        holder.kill()
        person.edit("a", {"data": {"value": "by hand"}})
        until(lambda: person.value("a") == "git", world, 60)
    finally:
        for watcher in watchers:
            watcher.kill()
            watcher.wait()
        world.stop()
