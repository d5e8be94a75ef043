"""`windlass delete`: what goes, in which order, what runs around it, and what stays."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import pytest
import yaml

from tests.e2e.test_order import HOOK, WAVE, annotated, document, job
from tests.e2e.world import World
from tests.parts.control_plane import ControlPlane
from tests.parts.waiting import until
from tests.parts.windlass import cluster, repository

pytestmark = pytest.mark.e2e

WAVES, HOOKS = WAVE.replace("/", "__"), HOOK.replace("/", "__")
OPTIONS = "argocd.argoproj.io__sync-options"


def with_finalizer(name: str, **annotations: str) -> str:
    body = yaml.safe_load(annotated(name, **annotations))
    body["metadata"]["finalizers"] = ["example.com/held"]
    return yaml.safe_dump(body)


def let_go(plane: ControlPlane, world: World, name: str) -> None:
    """The controller that the finalizer is for has done its work."""
    path = f"/api/v1/namespaces/{world.name}/configmaps/{name}?fieldManager=its-controller"
    gone = {"metadata": {"finalizers": None}}
    plane.request("PATCH", path, gone, content_type="application/merge-patch+json")


def names(output: str, word: str) -> list[str]:
    """The names of the objects of which the command said ``word``, in that order."""
    lines = (line.rpartition(": ") for line in output.splitlines())
    return [before.rpartition("/")[2] for before, _, said in lines if said == word]


def parent(world: World) -> dict[str, Any] | None:
    return world.cluster.get(f"/api/v1/namespaces/windlass/configmaps/application-{world.name}")


def test_the_highest_wave_goes_first_and_hooks_run_around(world: World, control_plane: ControlPlane) -> None:
    world.push(
        {
            "manifests/first.yaml": annotated("first", **{WAVES: "-1"}),
            "manifests/last.yaml": with_finalizer("last", **{WAVES: "2"}),
            "manifests/before.yaml": job("before", **{HOOKS: "PreDelete"}),
            "manifests/after.yaml": job("after", **{"helm.sh__hook": "post-delete"}),
        }
    )
    asked = world.windlass.run("delete", world.name, "--dry-run")
    assert f"run first: Job.batch/{world.name}/before" in asked.stdout, asked.stderr
    assert f"run last: Job.batch/{world.name}/after" in asked.stdout
    assert world.value("first") == "1"

    with subprocess.Popen(
        [sys.executable, "-m", "windlass.cli", "delete", world.name, "--yes"],
        env=world.windlass.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        until(lambda: "deletionTimestamp" in metadata(world, "last"))
        assert world.value("first") == "1", "an earlier wave waits until the later one is gone"
        let_go(control_plane, world, "last")
        output = running.communicate(timeout=60)[0]
    assert running.returncode == 0, output
    assert names(output, "succeeded") == ["before", "after"]
    went = names(output, "deleted")
    assert (went[0], set(went[1:-1]), went[-1]) == ("last", {"a", "before"}, "first")
    assert [world.value(name) for name in ("first", "a", "last")] == [None, None, None]
    assert world.cluster.get(f"/apis/batch/v1/namespaces/{world.name}/jobs/after") is None
    assert world.cluster.get(f"/api/v1/namespaces/{world.name}") is not None
    assert f"stays: Namespace/{world.name}" in asked.stdout


def metadata(world: World, name: str) -> dict[str, Any]:
    found = world.cluster.get(f"/api/v1/namespaces/{world.name}/configmaps/{name}")
    return found["metadata"] if found else {}


def test_a_hook_that_fails_stops_the_deletion_and_the_same_command_goes_on(world: World) -> None:
    document(world, timeout="3s")
    hanging = job("before", cpu="10000", **{HOOKS: "PreDelete"})
    world.push({"manifests/before.yaml": hanging})
    failed = world.windlass.run("delete", world.name, "--yes")
    assert failed.returncode == 1
    assert "before: has not ended after 3 s" in failed.stderr
    assert world.value("a") == "1"
    world.push({"manifests/before.yaml": job("before", **{HOOKS: "PreDelete"})})
    done = world.windlass.run("delete", world.name, "--yes")
    assert done.returncode == 0, done.stdout
    assert world.value("a") is None


def test_a_deletion_that_was_killed_goes_on_and_runs_no_hook_twice(world: World, control_plane: ControlPlane) -> None:
    world.push(
        {
            "manifests/held.yaml": with_finalizer("held", **{WAVES: "1"}),
            "manifests/before.yaml": job("before", **{HOOKS: "PreDelete"}),
        }
    )
    with subprocess.Popen(
        [sys.executable, "-m", "windlass.cli", "delete", world.name, "--yes"], env=world.windlass.environment
    ) as running:
        until(lambda: "deletionTimestamp" in metadata(world, "held"))
        running.send_signal(signal.SIGKILL)
    let_go(control_plane, world, "held")
    again = world.windlass.run("delete", world.name, "--yes")
    assert again.returncode == 0, again.stdout + again.stderr
    assert names(again.stdout, "succeeded") == []
    assert set(names(again.stdout, "deleted")) == {"a", "before"}
    assert world.windlass.run("history", world.name, "--json").stdout.strip() == "[]"


def test_what_asks_to_be_kept_stays_and_so_does_its_record(world: World) -> None:
    world.push(
        {
            "manifests/kept.yaml": annotated("kept", **{OPTIONS: "Delete=false"}),
            "manifests/pruned.yaml": annotated("unpruned", **{OPTIONS: "Prune=false"}),
        }
    )
    done = world.windlass.run("delete", world.name, "--yes")
    assert done.returncode == 0, done.stderr
    assert [world.value(name) for name in ("kept", "unpruned", "a")] == ["1", None, None]
    assert "2 deleted, 2 stay" in done.stdout
    assert parent(world) is not None, "what stays can be found again"


def test_a_namespace_goes_when_it_says_so_and_last(world: World) -> None:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": world.name}}
    body["metadata"] = {"name": world.name, "annotations": {"windlass.dev/prune": "true"}}
    world.push({"manifests/namespace.yaml": yaml.safe_dump(body)})
    done = world.windlass.run("delete", world.name, "--yes")
    assert names(done.stdout, "deleted") == ["a", world.name], done.stdout + done.stderr
    assert parent(world) is None


def test_without_its_document_an_application_is_deleted_where_it_is_said_to_be(world: World) -> None:
    world.push({"manifests/before.yaml": job("before", **{HOOKS: "PreDelete"})})
    world.windlass.write(repository(world.name, world.url, forge="generic"), cluster("local", world.kubeconfig))
    until(lambda: '"applications":0' in world.windlass.log("worker"))
    assert "say where it is with --cluster" in world.windlass.run("delete", world.name, "--yes").stderr
    done = world.windlass.run("delete", world.name, "--cluster", "local", "--yes")
    assert done.returncode == 0, done.stderr
    assert "no hooks are known" in done.stderr
    assert world.value("a") is None
