"""`sync.automatic: false`: a commit says what it would do, a person does it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.test_order import document
from tests.e2e.world import World, config_map
from tests.parts.control_plane import ControlPlane
from tests.parts.waiting import until
from tests.parts.windlass import application, cluster, repository

pytestmark = pytest.mark.e2e


def phase(world: World, commit: str) -> str:
    run = world.windlass.last_run(world.name)
    return run.phase if run.revision == commit else ""


def test_a_push_only_moves_what_is_wanted_until_a_person_says_so(world: World, control_plane: ControlPlane) -> None:
    document(world, automatic=False)
    first = world.work.commit_and_push(
        {"manifests/a.yaml": config_map("a", "2"), "manifests/b.yaml": config_map("b", "1")}
    )
    world.deliver(first)
    until(lambda: phase(world, first) == "OutOfSync", show=lambda: world.windlass.log("worker")[-3000:])
    assert (world.value("a"), world.value("b")) == ("1", None)
    assert "2 objects to write: `windlass sync" in world.windlass.run("status", world.name).stderr

    assert world.windlass.run("sync", world.name).returncode == 0
    assert (world.value("a"), world.value("b"), world.windlass.revision(world.name)) == ("2", "1", first)

    path = f"/api/v1/namespaces/{world.name}/configmaps/a?fieldManager=kubectl-edit"
    change = {"data": {"value": "by hand"}}
    control_plane.request("PATCH", path, change, content_type="application/merge-patch+json")
    second = world.work.commit_and_push({"manifests/b.yaml": None})
    world.deliver(second)
    until(lambda: phase(world, second) == "OutOfSync")
    assert (world.value("a"), world.value("b")) == ("by hand", "1")
    assert world.windlass.run("sync", world.name).returncode == 0
    assert (world.value("a"), world.value("b")) == ("2", None)


def test_a_commit_that_changes_no_object_needs_nobody(world: World) -> None:
    document(world, automatic=False)
    commit = world.work.commit_and_push(
        {"manifests/README.md": "text", "manifests/a.yaml": "# text\n" + config_map("a", "1")}
    )
    world.deliver(commit)
    world.applied_completely(commit)


def test_a_persons_word_is_for_one_commit_however_its_run_ends(world: World) -> None:
    document(world, automatic=False)
    broken = world.work.commit_and_push({"manifests/b.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: B}\n"})
    world.deliver(broken)
    until(lambda: phase(world, broken) == "OutOfSync")
    assert world.windlass.run("sync", world.name).returncode == 1
    newer = world.work.commit_and_push({"manifests/b.yaml": config_map("b", "1")})
    world.deliver(newer)
    until(lambda: phase(world, newer) == "OutOfSync", show=lambda: world.windlass.log("worker")[-3000:])
    assert world.value("b") is None
    assert world.windlass.run("sync", world.name).returncode == 0
    assert world.value("b") == "1"


def test_nobody_else_waits_for_that_word_but_who_would_delete_what_is_wanted(world: World) -> None:
    """One application needs a person, the other doesn't; an object moves from the second to the first."""
    other, texts = f"{world.name}-other", {name: config_map(name, "1") for name in ("moves", "leaves", "stays")}
    first = world.work.commit_and_push({f"other/{name}.yaml": text for name, text in texts.items()})
    shared: dict[str, Any] = {"repository": world.name, "namespace": world.name}
    world.windlass.write(
        repository(world.name, world.url, forge="generic"),
        cluster("local", world.kubeconfig),
        application(world.name, path="manifests", sync={"automatic": False}, **shared),
        application(other, path="other", **shared),
    )
    until(lambda: world.windlass.revision(other) == first, show=lambda: world.windlass.log("worker")[-3000:])
    moved = {"other/moves.yaml": None, "other/leaves.yaml": None, "manifests/moves.yaml": texts["moves"]}
    second = world.work.commit_and_push(moved)
    world.deliver(second)
    until(lambda: world.value("leaves") is None, show=lambda: world.windlass.log("worker")[-3000:])
    until(lambda: world.windlass.last_run(other).revision == second)
    assert "waits for `windlass sync" in world.windlass.last_run(other).errors[0]
    before = uid(world, "moves")
    assert world.windlass.run("sync", world.name).returncode == 0
    until(lambda: world.windlass.revision(other) == second, show=lambda: world.windlass.log("worker")[-3000:])
    assert uid(world, "moves") == before, "it is handed over, not deleted and created"


def uid(world: World, name: str) -> str:
    found = world.cluster.get(f"/api/v1/namespaces/{world.name}/configmaps/{name}")
    assert found is not None
    return str(found["metadata"]["uid"])
