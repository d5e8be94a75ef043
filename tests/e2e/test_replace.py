"""Objects deleted and created anew: when they are, when not, and what becomes of one that was cut off in between."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.e2e.test_order import job
from tests.e2e.world import World, config_map
from tests.parts.control_plane import ControlPlane
from tests.parts.waiting import until

pytestmark = pytest.mark.e2e

ANEW = {"argocd.argoproj.io__sync-options": "Force=true,Replace=true"}


def live(world: World, name: str) -> dict[str, Any]:
    return world.cluster.get(f"/apis/batch/v1/namespaces/{world.name}/jobs/{name}") or {"metadata": {}}


def uid(world: World, name: str) -> str:
    return str(live(world, name)["metadata"].get("uid", ""))


def said(world: World, name: str) -> str:
    return str(live(world, name)["metadata"].get("labels", {}).get("said", ""))


def labelled(text: str, value: str, *, finalizer: bool = False) -> str:
    body = yaml.safe_load(text)
    body["metadata"]["labels"] = {"said": value}
    if finalizer:
        body["metadata"]["finalizers"] = ["example.com/held"]
    return yaml.safe_dump(body)


def let_go(plane: ControlPlane, world: World, name: str) -> None:
    """The controller that the finalizer is for has done its work."""
    path = f"/apis/batch/v1/namespaces/{world.name}/jobs/{name}?fieldManager=its-controller"
    plane.request("PATCH", path, {"metadata": {"finalizers": None}}, content_type="application/merge-patch+json")


def test_a_job_that_asks_for_it_runs_again_with_new_content_and_only_then(world: World) -> None:
    world.push({"manifests/job.yaml": labelled(job("once", **ANEW), "1")})
    first = uid(world, "once")
    world.push({"manifests/a.yaml": config_map("a", "2")})
    assert world.windlass.run("sync", world.name).returncode == 0
    assert uid(world, "once") == first
    run = world.push({"manifests/job.yaml": labelled(job("once", **ANEW), "2")})
    assert run.errors == []
    assert uid(world, "once") not in ("", first)
    assert said(world, "once") == "2"


def test_a_job_that_runs_at_each_revision_does_and_is_waited_for(world: World) -> None:
    each = job("each", **{"windlass.dev__run": "each-revision"})
    commit = world.work.commit_and_push({"manifests/job.yaml": each})
    world.deliver(commit)
    world.applied_completely(commit)
    first = uid(world, "each")
    assert live(world, "each")["status"]["succeeded"] == 1
    commit = world.work.commit_and_push({"manifests/a.yaml": config_map("a", "2")})
    world.deliver(commit)
    world.applied_completely(commit)
    assert uid(world, "each") not in ("", first)


def test_who_waits_for_a_finalizer_holds_up_nobody(world: World, control_plane: ControlPlane) -> None:
    world.push({"manifests/job.yaml": labelled(job("held", **ANEW), "1", finalizer=True)})
    first = uid(world, "held")
    many: dict[str, str | bytes | None] = {f"manifests/m{i}.yaml": config_map(f"m{i}", "1") for i in range(40)}
    world.push({"manifests/job.yaml": labelled(job("held", **ANEW), "2"), **many}, wait=False)
    until(lambda: all(world.value(f"m{i}") == "1" for i in (0, 20, 39)))
    assert uid(world, "held") == first
    until(lambda: "finalizers: example.com/held" in "".join(world.windlass.last_run(world.name).errors))
    assert world.windlass.last_run(world.name).phase == "Retrying"
    let_go(control_plane, world, "held")
    world.applied_completely(world.work.head)
    assert uid(world, "held") != first
    assert said(world, "held") == "2"


def test_what_a_killed_worker_had_done_is_undone_though_git_went_back_to_what_was_applied_before(
    world: World, control_plane: ControlPlane
) -> None:
    """Killed between deleting and creating; nobody watches, so only the next run can know."""
    before = labelled(job("held", **ANEW), "1", finalizer=True)
    world.push({"manifests/job.yaml": before})
    first = uid(world, "held")
    world.windlass.environment["WINDLASS_WATCH"] = "false"
    world.windlass.stop_workers()
    world.windlass.start_worker(fresh_redis=False)
    after = labelled(job("held", **ANEW), "2")
    world.push({"manifests/job.yaml": after, "manifests/a.yaml": config_map("a", "2")}, wait=False)
    until(lambda: "deletionTimestamp" in live(world, "held")["metadata"] and world.value("a") == "2")
    world.windlass.workers[-1].kill()
    let_go(control_plane, world, "held")
    commit = world.work.commit_and_push({"manifests/job.yaml": before, "manifests/a.yaml": config_map("a", "1")})
    world.deliver(commit)
    world.windlass.start_worker(fresh_redis=False)
    world.applied_completely(commit, 60)
    assert uid(world, "held") not in ("", first)
    assert (said(world, "held"), world.value("a")) == ("1", "1")
