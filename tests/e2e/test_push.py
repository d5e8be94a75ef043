"""The main job, whole: a signed push over HTTP, Git over HTTP, Redis, service and worker as processes, a real API server."""

from __future__ import annotations

import json
import time

import pytest
import redis as redis_client

from tests.e2e.world import World, config_map
from tests.parts.waiting import until
from tests.parts.windlass import application, cluster, repository

pytestmark = pytest.mark.e2e


def test_a_push_becomes_what_the_cluster_says(world: World) -> None:
    run = world.push({"manifests/a.yaml": config_map("a", "2"), "manifests/b.yaml": config_map("b", "3")})
    assert (run.applied, run.pruned, run.errors) == (2, 0, [])
    assert (world.value("a"), world.value("b")) == ("2", "3")


def test_what_git_no_longer_names_is_deleted_and_nothing_else(world: World) -> None:
    world.push({"manifests/b.yaml": config_map("b", "1")})
    run = world.push({"manifests/b.yaml": None})
    assert (run.applied, run.pruned) == (0, 1)
    assert (world.value("a"), world.value("b")) == ("1", None)


def test_a_moved_file_is_no_change(world: World) -> None:
    run = world.push({"manifests/a.yaml": None, "manifests/below/renamed.yml": config_map("a", "1")})
    assert (run.applied, run.pruned, run.unchanged) == (0, 0, 1)
    run = world.push({"manifests/below/renamed.yml": None})
    assert run.pruned == 1


def test_a_commit_that_touches_other_paths_costs_no_run(world: World) -> None:
    before = len(world.runs())
    commit = world.work.commit_and_push({"README.md": "not a manifest"})
    world.deliver(commit)
    deadline = time.monotonic() + 10
    while world.deliver(commit)[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len(world.runs()) == before


def test_a_redelivery_of_what_is_applied_queues_nothing(world: World) -> None:
    world.push({"manifests/a.yaml": config_map("a", "2")})
    status, answer = world.deliver(world.work.head)
    assert (status, answer["sources"][0]["outcome"]) == (200, "applied")


def test_one_bad_file_stops_neither_the_others_nor_deletes_anything(world: World) -> None:
    world.push({"manifests/b.yaml": config_map("b", "1")})
    run = world.push({"manifests/a.yaml": config_map("a", "2"), "manifests/b.yaml": "a: [", "manifests/c.yaml": None} | {
        "manifests/c.yaml": config_map("c", "1")})  # fmt: skip
    assert run.phase == "Failed"
    assert run.errors[0].startswith("manifests/b.yaml:")
    assert (world.value("a"), world.value("b"), world.value("c")) == ("2", "1", "1")


def test_an_object_of_a_failed_commit_that_the_next_one_drops_is_deleted(world: World) -> None:
    world.push({"manifests/bad.yaml": "a: [", "manifests/c.yaml": config_map("c", "1")})
    run = world.push({"manifests/bad.yaml": None, "manifests/c.yaml": None})
    assert run.phase == "Synced"
    assert world.value("c") is None


def test_an_emptied_path_deletes_nothing(world: World) -> None:
    run = world.push({"manifests/a.yaml": None, "manifests/namespace.yaml": None, "other/x.txt": "x"})
    assert run.phase == "Failed"
    assert world.value("a") == "1"


def test_a_resource_comes_with_its_definition_in_one_commit(world: World) -> None:
    group = f"{world.name}.example.com"
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"boats.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "boats", "singular": "boat", "kind": "Boat"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}
            ],
        },
    }  # fmt: skip
    boat = {"apiVersion": f"{group}/v1", "kind": "Boat", "metadata": {"name": "ketch"}, "spec": {"masts": 2}}
    run = world.push(
        {"manifests/all.json": json.dumps({"apiVersion": "v1", "kind": "List", "items": [boat, definition]})}
    )
    assert (run.applied, run.errors) == (2, [])
    assert world.cluster.get(f"/apis/{group}/v1/namespaces/{world.name}/boats/ketch") is not None


def test_after_redis_lost_its_memory_nothing_is_written_that_did_not_change(world: World) -> None:
    world.push({f"manifests/m{i}.yaml": config_map(f"m{i}", "1") for i in range(20)})
    with redis_client.Redis.from_url(world.redis.url) as connection:
        connection.flushall()
    run = world.push({"manifests/m3.yaml": config_map("m3", "2")})
    assert (run.applied, run.pruned) == (1, 0)
    assert world.value("m3") == "2"


def test_a_new_application_document_is_applied_without_a_restart(world: World) -> None:
    world.push({"other/o.yaml": config_map("o", "1")}, wait=False)
    second = f"{world.name}-second"
    world.windlass.write(
        repository(world.name, world.url, forge="generic"),
        cluster("local", world.kubeconfig),
        application(world.name, repository=world.name, path="manifests", namespace=world.name),
        application(second, repository=world.name, path="other", namespace=world.name),
    )
    deadline = time.monotonic() + 10
    while world.value("o") != "1":
        assert time.monotonic() < deadline, world.windlass.log("worker")[-3000:]
        time.sleep(0.05)


def test_an_object_that_moves_between_two_applications_is_handed_over(world: World) -> None:
    second = f"{world.name}-second"
    world.windlass.write(
        repository(world.name, world.url, forge="generic"),
        cluster("local", world.kubeconfig),
        application(world.name, repository=world.name, path="manifests", namespace=world.name),
        application(second, repository=world.name, path="other", namespace=world.name),
    )
    world.push({"manifests/moves.yaml": config_map("moves", "1"), "other/o.yaml": config_map("o", "1")})
    path = f"/api/v1/namespaces/{world.name}/configmaps/moves"
    until(lambda: world.value("o") == "1")  # so the second application is known, and was applied
    before = world.cluster.get(path)
    run = world.push({"manifests/moves.yaml": None, "other/moves.yaml": config_map("moves", "2")})
    assert run.errors == []
    deadline = time.monotonic() + 10
    while world.value("moves") != "2":
        assert time.monotonic() < deadline, world.windlass.log("worker")[-3000:]
        time.sleep(0.05)
    after = world.cluster.get(path)
    assert before is not None
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    managers = {entry["manager"] for entry in after["metadata"]["managedFields"]}
    assert managers == {f"windlass/{second}"}


def test_two_applications_never_share_an_object(world: World) -> None:
    second = f"{world.name}-second"
    world.windlass.write(
        repository(world.name, world.url, forge="generic"),
        cluster("local", world.kubeconfig),
        application(world.name, repository=world.name, path="manifests", namespace=world.name),
        application(second, repository=world.name, path="other", namespace=world.name),
    )
    world.push({"other/a.yaml": config_map("a", "mine!")}, wait=False)
    deadline = time.monotonic() + 10
    while not (errors := world.windlass.last_run(second).errors):
        assert time.monotonic() < deadline, world.windlass.log("worker")[-3000:]
        time.sleep(0.05)
    assert world.name in errors[0]
    assert world.value("a") == "1"


def test_the_command_line_shows_what_happened_and_deletes_on_request(world: World) -> None:
    world.push({"manifests/a.yaml": config_map("a", "2")})
    status = world.windlass.run("status", world.name)
    assert "Synced" in status.stdout
    assert world.work.head[:10] in world.windlass.run("history", world.name).stdout
    synced = world.windlass.run("sync", world.name)
    assert "Synced" in synced.stdout, synced.stderr
    assert "0 applied" in synced.stdout
    gone = world.windlass.run("delete", world.name, "--yes")
    assert "ConfigMap/" in gone.stdout, gone.stderr
    assert world.value("a") is None
    assert world.cluster.get(f"/api/v1/namespaces/{world.name}") is not None, "namespaces are kept"
