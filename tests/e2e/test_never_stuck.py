"""Nobody waits for ever, and nobody starves: every wait ends in a phase that says why, and a newer commit ends it at once."""

from __future__ import annotations

import itertools
import time

import pytest

from tests.e2e.test_delete import HOOKS, WAVES, let_go, metadata, with_finalizer
from tests.e2e.test_order import annotated, created, deployment, document, job
from tests.e2e.world import World, config_map
from tests.parts.control_plane import ControlPlane
from tests.parts.waiting import until
from tests.parts.windlass import application, cluster, repository

pytestmark = pytest.mark.e2e


def test_a_hook_that_never_ends_fails_the_run_in_time_and_runs_what_is_for_that_case(world: World) -> None:
    document(world, timeout="3s")
    commit = world.work.commit_and_push(
        {
            "manifests/before.yaml": job("before", cpu="10000", **{HOOKS: "PreSync"}),
            "manifests/alarm.yaml": job("alarm", **{HOOKS: "SyncFail"}),
            "manifests/web.yaml": config_map("web", "1"),
        }
    )
    world.deliver(commit)
    until(
        lambda: world.windlass.last_run(world.name).phase == "Failed", show=lambda: world.windlass.log("worker")[-3000:]
    )
    assert "before: is not healthy after 3 s" in world.windlass.last_run(world.name).errors[0]
    assert created(world, "jobs", "alarm")
    assert world.value("web") is None


def test_who_waits_for_another_application_gives_up_in_time_and_goes_on_when_that_one_is_there(world: World) -> None:
    second = f"{world.name}-second"
    sync = {"dependsOn": [world.name], "timeout": "2s"}
    world.windlass.write(
        repository(world.name, world.url, forge="generic"),
        cluster("local", world.kubeconfig),
        application(world.name, repository=world.name, path="manifests", namespace=world.name),
        application(second, repository=world.name, path="other", namespace=world.name, sync=sync),
    )
    world.deliver(
        world.work.commit_and_push(
            {"manifests/d.yaml": deployment("web", cpu="10000"), "other/o.yaml": config_map("o", "1")}
        )
    )
    until(lambda: world.windlass.last_run(second).phase == "Failed", show=lambda: world.windlass.log("worker")[-3000:])
    (error,) = world.windlass.last_run(second).errors
    assert f"waits until {world.name} is healthy: not within 2 s" in error
    world.deliver(world.work.commit_and_push({"manifests/d.yaml": None}))
    until(lambda: world.value("o") == "1", show=lambda: world.windlass.log("worker")[-3000:])


def test_a_finalizer_holds_up_what_is_deleted_after_it_for_a_time_and_no_newer_commit(
    world: World, control_plane: ControlPlane
) -> None:
    document(world, timeout="5s")
    wave = {
        "manifests/held.yaml": with_finalizer("held", **{WAVES: "2"}),
        "manifests/under.yaml": annotated("under", **{WAVES: "1"}),
    }
    world.push({**wave})
    world.deliver(world.work.commit_and_push(dict.fromkeys(wave)))
    until(lambda: "held is gone" in world.windlass.last_run(world.name).waits)
    newer = world.work.commit_and_push({"manifests/a.yaml": config_map("a", "2")})
    world.deliver(newer)
    until(lambda: world.value("a") == "2")
    until(
        lambda: world.windlass.last_run(world.name).phase == "Failed", show=lambda: world.windlass.log("worker")[-3000:]
    )
    assert "held: is being deleted, and not gone after 5 s" in world.windlass.last_run(world.name).errors[0]
    assert world.value("under") == "1"
    let_go(control_plane, world, "held")
    assert world.windlass.run("sync", world.name).returncode == 0
    assert (metadata(world, "held"), world.value("under")) == ({}, None)


def test_commits_that_come_faster_than_they_are_applied_do_not_starve_an_application(world: World) -> None:
    """After three runs in a row that gave way, one is finished."""

    def everything(number: int) -> str:
        return "---\n".join(config_map(f"m{place}", str(number)) for place in range(600))

    for number in range(14):
        world.deliver(world.work.commit_and_push({"manifests/many.yaml": everything(number)}))
        time.sleep(0.2)
    last = world.work.head
    until(lambda: world.windlass.revision(world.name) == last, seconds=120)
    phases = [run.phase for run in reversed(world.runs()) if run.applied or run.phase == "Superseded"]
    assert "Superseded" in phases, "no run gave way: too few objects for this machine"
    assert max(len(list(run)) for phase, run in itertools.groupby(phases) if phase == "Superseded") <= 3, phases
    assert world.value("m599") == "13"
