"""Who has an object, whole: adoption, first contact, force, edits undone, and what stays although Git let go of it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.e2e.world import World, config_map
from tests.parts.control_plane import ControlPlane
from tests.parts.waiting import until
from tests.parts.windlass import application, cluster, repository

pytestmark = pytest.mark.e2e


def path(world: World, name: str) -> str:
    return f"/api/v1/namespaces/{world.name}/configmaps/{name}"


def by(plane: ControlPlane, world: World, name: str, value: str, manager: str) -> None:
    """Somebody else writes the field ``data.value``."""
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}}
    plane.request(
        "PATCH",
        f"{path(world, name)}?fieldManager={manager}&force=true",
        body,
        content_type="application/apply-patch+yaml",
    )


def stays_edited(plane: ControlPlane, world: World) -> bool:
    """A person edits `a`; false where the watcher, or the run that the new document led to, still undoes it."""
    by(plane, world, "a", "edited", "kubectl-edit")
    time.sleep(1)
    return world.value("a") == "edited"


def documents(world: World, name: str, *, file: str = "manifests", **spec: Any) -> None:
    """One application in place of the world's own, once the worker goes by it."""
    before = world.windlass.log("worker").count("documents.loaded")
    world.windlass.write(
        repository(world.name, world.url, forge="generic"),
        cluster("local", world.kubeconfig),
        application(name, repository=world.name, path=file, namespace=world.name, **spec),
    )
    until(lambda: world.windlass.log("worker").count("documents.loaded") > before)


def test_a_renamed_application_adopts_every_object_and_deletes_none(world: World) -> None:
    before = world.cluster.get(path(world, "a"))
    renamed = f"{world.name}-renamed"
    documents(world, renamed, adopts=world.name)
    until(lambda: world.windlass.last_run(renamed).phase == "Synced", show=lambda: world.windlass.log("worker")[-3000:])
    after = world.cluster.get(path(world, "a"))
    assert before is not None
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert {entry["manager"] for entry in after["metadata"]["managedFields"]} == {f"windlass/{renamed}"}
    world.deliver(world.work.commit_and_push({"manifests/a.yaml": None, "manifests/b.yaml": config_map("b", "1")}))
    until(lambda: (world.value("a"), world.value("b")) == (None, "1"))


def test_without_prune_what_left_git_is_kept_and_listed(world: World) -> None:
    documents(world, world.name, sync={"prune": False})
    world.push({"manifests/gone.yaml": config_map("gone", "1")})
    run = world.push({"manifests/gone.yaml": None})
    assert (run.phase, run.pruned) == ("Synced", 0)
    assert run.kept == [f"ConfigMap/{world.name}/gone"]
    assert world.value("gone") == "1"


def test_first_contact_names_the_field_and_its_manager_and_force_takes_it(
    world: World, control_plane: ControlPlane
) -> None:
    by(control_plane, world, "theirs", "theirs", "some-controller")
    run = world.push({"manifests/theirs.yaml": config_map("theirs", "git"), "manifests/a.yaml": config_map("a", "2")})
    (error,) = run.errors
    assert ".data.value" in error
    assert "some-controller" in error
    assert "manifests/theirs.yaml:1" in error
    assert (world.value("theirs"), world.value("a")) == ("theirs", "2")
    documents(world, world.name, sync={"force": True})
    until(lambda: world.value("theirs") == "git", show=lambda: world.windlass.log("worker")[-3000:])


def test_windlass_sync_undoes_an_edit_that_is_only_reported(world: World, control_plane: ControlPlane) -> None:
    documents(world, world.name, sync={"selfHeal": False})
    until(lambda: stays_edited(control_plane, world))
    assert world.windlass.run("sync", world.name).returncode == 0
    assert world.value("a") == "1"


def test_a_push_that_touches_an_edited_object_undoes_the_edit(world: World, control_plane: ControlPlane) -> None:
    documents(world, world.name, sync={"selfHeal": False})
    until(lambda: stays_edited(control_plane, world))
    assert world.push({"manifests/a.yaml": config_map("a", "2")}).errors == []
    assert world.value("a") == "2"


def test_a_namespace_goes_only_if_it_said_so_while_git_had_it(world: World) -> None:
    names = {f"{world.name}-stays": "", f"{world.name}-goes": '\n  annotations: {windlass.dev/prune: "true"}'}
    files = {
        f"manifests/{name}.yaml": f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}{more}\n"
        for name, more in names.items()
    }
    world.push(dict(files))
    run = world.push(dict.fromkeys(files))
    assert (run.kept, run.pruned) == ([f"Namespace/{world.name}-stays"], 1)
    until(lambda: world.cluster.get(f"/api/v1/namespaces/{world.name}-goes") is None)
    assert world.cluster.get(f"/api/v1/namespaces/{world.name}-stays") is not None


def test_nothing_is_deleted_while_an_application_of_the_run_could_not_say_what_it_wants(world: World) -> None:
    """The receiver's file can't be read yet: what leaves the other one, and is named in it, stays."""
    second = f"{world.name}-second"
    world.windlass.write(
        repository(world.name, world.url, forge="generic"),
        cluster("local", world.kubeconfig),
        application(world.name, repository=world.name, path="manifests", namespace=world.name),
        application(second, repository=world.name, path="other", namespace=world.name),
    )
    world.push({"manifests/moves.yaml": config_map("moves", "1"), "other/o.yaml": config_map("o", "1")})
    until(lambda: world.value("o") == "1")
    before = world.cluster.get(path(world, "moves"))
    broken = config_map("moves", "2") + "  broken: [\n"
    run = world.push({"manifests/moves.yaml": None, "other/moves.yaml": broken, "other/o.yaml": config_map("o", "2")})
    assert "stays for now" in run.errors[0]
    world.deliver(world.work.commit_and_push({"other/moves.yaml": config_map("moves", "2")}))
    until(lambda: world.value("moves") == "2", show=lambda: world.windlass.log("worker")[-3000:])
    after = world.cluster.get(path(world, "moves"))
    assert before is not None
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
