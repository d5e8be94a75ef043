"""Order, whole: waves that wait for health, hooks around them, applications that wait for others, and what guards a prune."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import redis
import yaml

from tests.e2e.world import World, config_map
from tests.parts.waiting import until
from tests.parts.windlass import application, cluster, repository
from windlass.state import application_key

pytestmark = pytest.mark.e2e

WAVE, HOOK = "argocd.argoproj.io/sync-wave", "argocd.argoproj.io/hook"


def annotated(name: str, value: str = "1", **annotations: str) -> str:
    body = yaml.safe_load(config_map(name, value))
    body["metadata"]["annotations"] = {key.replace("__", "/"): said for key, said in annotations.items()}
    return yaml.safe_dump(body)


def deployment(name: str, *, cpu: str = "10m", wave: int = 0) -> str:
    container = {"name": "c", "image": "example.com/web:1", "resources": {"requests": {"cpu": cpu}}}
    labels = {"app": name}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "annotations": {WAVE: str(wave)}},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    return yaml.safe_dump(body)


def job(name: str, *, cpu: str = "10m", **annotations: str) -> str:
    container = {"name": "c", "image": "example.com/job:1", "resources": {"requests": {"cpu": cpu}}}
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "annotations": {key.replace("__", "/"): said for key, said in annotations.items()}},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}, "backoffLimit": 0},
    }
    return yaml.safe_dump(body)


def created(world: World, kind: str, name: str) -> str:
    group = {"configmaps": "api/v1", "deployments": "apis/apps/v1", "jobs": "apis/batch/v1"}[kind]
    found = world.cluster.get(f"/{group}/namespaces/{world.name}/{kind}/{name}")
    return found["metadata"]["creationTimestamp"] if found else ""


def document(world: World, **sync: Any) -> None:
    """The application's document with these words about sync, once the worker and the service go by it."""
    read = {"worker": "documents.loaded", "service": "documents.used"}
    before = {name: world.windlass.log(name).count(event) for name, event in read.items()}
    world.windlass.write(
        repository(world.name, world.url, forge="generic"),
        cluster("local", world.kubeconfig),
        application(world.name, repository=world.name, path="manifests", namespace=world.name, sync=sync),
    )
    until(lambda: all(world.windlass.log(name).count(event) > before[name] for name, event in read.items()))


def test_a_wave_waits_until_the_one_before_it_is_healthy(world: World) -> None:
    commit = world.work.commit_and_push(
        {
            "manifests/d.yaml": deployment("web"),
            "manifests/late.yaml": annotated("late", **{WAVE.replace("/", "__"): "1"}),
        }
    )
    world.deliver(commit)
    world.applied_completely(commit, 90)
    found = world.cluster.get(f"/apis/apps/v1/namespaces/{world.name}/deployments/web")
    assert found is not None
    available = next(c for c in found["status"]["conditions"] if c["type"] == "Available")
    assert available["status"] == "True"
    assert created(world, "configmaps", "late") >= available["lastTransitionTime"]


def test_a_newer_commit_overtakes_a_wave_that_never_becomes_healthy(world: World) -> None:
    late = {WAVE.replace("/", "__"): "1"}
    stuck = world.work.commit_and_push(
        {"manifests/d.yaml": deployment("web", cpu="10000"), "manifests/late.yaml": annotated("late", **late)}
    )
    world.deliver(stuck)
    until(lambda: "web" in world.windlass.last_run(world.name).waits, show=lambda: world.windlass.log("worker")[-3000:])
    assert world.value("late") is None
    status = world.windlass.run("status", world.name).stdout
    assert "Waiting" in status
    mended = world.work.commit_and_push({"manifests/d.yaml": deployment("web")})
    world.deliver(mended)
    world.applied_completely(mended, 90)
    assert world.value("late") == "1"


def test_a_wave_that_is_not_healthy_in_time_fails_with_the_reason_and_what_follows_is_not_written(world: World) -> None:
    document(world, timeout="3s")
    late = {WAVE.replace("/", "__"): "1"}
    commit = world.work.commit_and_push(
        {"manifests/d.yaml": deployment("web", cpu="10000"), "manifests/late.yaml": annotated("late", **late)}
    )
    world.deliver(commit)
    until(
        lambda: world.windlass.last_run(world.name).phase == "Failed", show=lambda: world.windlass.log("worker")[-3000:]
    )
    (error,) = world.windlass.last_run(world.name).errors
    assert "not healthy after 3 s" in error
    assert "nsufficient cpu" in error or "nschedulable" in error
    assert world.value("late") is None


def test_hooks_run_before_and_after_once_a_revision(world: World) -> None:
    files = {
        "manifests/before.yaml": job("before", **{HOOK.replace("/", "__"): "PreSync"}),
        "manifests/after.yaml": job("after", **{"helm.sh__hook": "post-install,post-upgrade"}),
        "manifests/web.yaml": config_map("web", "1"),
    }
    first = world.work.commit_and_push(files)
    world.deliver(first)
    world.applied_completely(first, 90)
    path = f"/apis/batch/v1/namespaces/{world.name}/jobs"
    jobs = {name: world.cluster.get(f"{path}/{name}") for name in ("before", "after")}
    assert all(one is not None and one["status"].get("succeeded") == 1 for one in jobs.values()), jobs
    uid = (jobs["before"] or {})["metadata"]["uid"]
    assert world.windlass.run("sync", world.name).returncode == 0
    assert (world.cluster.get(f"{path}/before") or {})["metadata"]["uid"] == uid, "nothing differs: no hook runs"
    second = world.work.commit_and_push({"manifests/web.yaml": config_map("web", "2")})
    world.deliver(second)
    world.applied_completely(second, 90)
    assert (world.cluster.get(f"{path}/before") or {})["metadata"]["uid"] != uid


def test_a_hook_that_hangs_is_overtaken_by_a_newer_commit(world: World) -> None:
    hanging = job("before", cpu="10000", **{HOOK.replace("/", "__"): "PreSync"})
    stuck = world.work.commit_and_push({"manifests/before.yaml": hanging, "manifests/web.yaml": config_map("web", "1")})
    world.deliver(stuck)
    until(lambda: "before" in world.windlass.last_run(world.name).waits)
    assert world.value("web") is None
    mended = world.work.commit_and_push({"manifests/before.yaml": None})
    world.deliver(mended)
    world.applied_completely(mended, 60)
    assert world.value("web") == "1"


def test_a_hook_that_asks_to_go_once_it_succeeded_stays_until_its_phase_is_over(world: World) -> None:
    """As charts have it: an account, and the Jobs that run as it in later waves; one takes itself away when it is done."""

    def hook(weight: int) -> dict[str, str]:
        policy = {"helm.sh__hook-delete-policy": "before-hook-creation,hook-succeeded"}
        return {"helm.sh__hook": "pre-install,pre-upgrade", "helm.sh__hook-weight": str(weight), **policy}

    first = yaml.safe_load(job("first", **hook(-1)))
    first["spec"]["ttlSecondsAfterFinished"] = 0
    files = {
        "manifests/account.yaml": annotated("account", **hook(-5)),
        "manifests/first.yaml": yaml.safe_dump(first),
        "manifests/second.yaml": job("second", cpu="10000", **hook(0)),
        "manifests/web.yaml": config_map("web", "1"),
    }
    world.deliver(world.work.commit_and_push(files))
    until(
        lambda: "second" in world.windlass.last_run(world.name).waits, show=lambda: world.windlass.log("worker")[-3000:]
    )
    assert world.value("account") == "1"
    assert created(world, "jobs", "first")
    mended = world.work.commit_and_push({"manifests/second.yaml": job("second", **hook(0))})
    world.deliver(mended)
    world.applied_completely(mended, 90)
    assert (world.value("account"), world.value("web")) == (None, "1")
    assert (created(world, "jobs", "first"), created(world, "jobs", "second")) == ("", "")


def test_nothing_but_a_hook_is_deleted_because_redis_calls_it_a_hook_that_is_done(world: World) -> None:
    world.push({"manifests/web.yaml": config_map("web", "1")})
    path = f"/api/v1/namespaces/{world.name}/configmaps/web"
    uid = (world.cluster.get(path) or {})["metadata"]["uid"]
    lie = {"revision": "older", "due": True, "spent": [f"PreSync ConfigMap/{world.name}/web"]}
    with redis.Redis.from_url(world.redis.url) as memory:
        memory.hset(application_key(world.name), "standing", json.dumps(lie))
    world.push({"manifests/other.yaml": config_map("other", "1")})
    assert (world.cluster.get(path) or {})["metadata"]["uid"] == uid


def test_a_hook_that_failed_runs_again_when_a_person_asks_and_is_not_forgotten(world: World) -> None:
    """It comes last, so that there is nothing else left to do."""
    failing = yaml.safe_load(job("after", cpu="10000", **{HOOK.replace("/", "__"): "PostSync"}))
    failing["spec"]["activeDeadlineSeconds"] = 1
    world.deliver(world.work.commit_and_push({"manifests/after.yaml": yaml.safe_dump(failing)}))
    until(
        lambda: world.windlass.last_run(world.name).phase == "Failed", show=lambda: world.windlass.log("worker")[-3000:]
    )
    path = f"/apis/batch/v1/namespaces/{world.name}/jobs/after"
    uid = (world.cluster.get(path) or {})["metadata"]["uid"]
    again = world.windlass.run("sync", world.name)
    said = again.stdout + again.stderr
    assert (again.returncode, "longer than specified deadline" in said) == (1, True), said
    assert (world.cluster.get(path) or {})["metadata"]["uid"] != uid


def test_an_application_waits_for_the_one_it_depends_on_and_is_released_by_it(world: World) -> None:
    second = f"{world.name}-second"
    world.windlass.write(
        repository(world.name, world.url, forge="generic"),
        cluster("local", world.kubeconfig),
        application(world.name, repository=world.name, path="manifests", namespace=world.name),
        application(
            second, repository=world.name, path="other", namespace=world.name, sync={"dependsOn": [world.name]}
        ),
    )
    commit = world.work.commit_and_push(
        {"manifests/d.yaml": deployment("web", cpu="10000"), "other/o.yaml": config_map("o", "1")}
    )
    world.deliver(commit)
    until(lambda: "healthy" in world.windlass.last_run(second).waits, show=lambda: world.windlass.log("worker")[-3000:])
    assert world.value("o") is None
    world.deliver(world.work.commit_and_push({"manifests/d.yaml": deployment("web")}))
    until(lambda: world.value("o") == "1", show=lambda: world.windlass.log("worker")[-3000:])


def test_a_commit_that_takes_too_much_waits_for_an_approval(world: World) -> None:
    document(world, pruneLimit=2)
    world.push({f"manifests/m{i}.yaml": config_map(f"m{i}", "1") for i in range(6)})
    world.deliver(world.work.commit_and_push({f"manifests/m{i}.yaml": None for i in range(4)}))
    until(lambda: world.windlass.last_run(world.name).phase == "Failed")
    (error,) = world.windlass.last_run(world.name).errors
    assert "nothing is pruned: 4 of" in error
    assert "windlass approve" in error
    assert world.value("m0") == "1"
    assert world.windlass.run("approve", world.name).returncode == 0
    until(lambda: world.value("m0") is None)
    assert world.value("m5") == "1"


def test_nobody_approves_by_writing_redis(world: World) -> None:
    document(world, pruneLimit=0)
    world.push({f"manifests/m{i}.yaml": config_map(f"m{i}", "1") for i in range(7)})
    commit = world.work.commit_and_push({f"manifests/m{i}.yaml": None for i in range(6)})
    world.deliver(commit)
    until(lambda: world.windlass.last_run(world.name).phase == "Failed")
    with redis.Redis.from_url(world.redis.url) as connection:
        connection.hset(application_key(world.name), "approved", commit)
    assert world.windlass.run("sync", world.name).returncode == 1
    assert world.value("m0") == "1"


def test_what_a_stopped_commit_added_makes_no_room_for_its_prune_and_an_approval_is_for_one_prune(world: World) -> None:
    """All objects get other names, as by a mistyped prefix: the new ones, applied, must not make the old ones a mere half."""
    world.push({f"manifests/m{i}.yaml": config_map(f"m{i}", "1") for i in range(8)})
    world.deliver(world.work.commit_and_push({f"manifests/m{i}.yaml": config_map(f"n{i}", "1") for i in range(8)}))
    until(lambda: world.windlass.last_run(world.name).phase == "Failed")
    assert world.windlass.run("sync", world.name).returncode == 1
    run = world.push({"manifests/a.yaml": config_map("a", "2"), "elsewhere/e.yaml": config_map("e", "1")})
    assert "nothing is pruned: 8 of 10 objects" in run.errors[0]
    assert (world.value("a"), world.value("n0"), world.value("m0")) == ("2", "1", "1")
    assert world.windlass.run("approve", world.name).returncode == 0
    until(lambda: world.value("m0") is None)
    world.windlass.write(
        repository(world.name, world.url, forge="generic"),
        cluster("local", world.kubeconfig),
        application(world.name, repository=world.name, path="elsewhere", namespace=world.name),
    )
    until(
        lambda: world.value("e") == "1" and "nothing is pruned" in " ".join(world.windlass.last_run(world.name).errors)
    )
    assert world.value("n0") == "1"


def test_an_object_that_asks_to_be_kept_stays(world: World) -> None:
    keep = {"argocd.argoproj.io__sync-options": "Prune=false"}
    world.push({"manifests/kept.yaml": annotated("kept", **keep), "manifests/gone.yaml": config_map("gone", "1")})
    run = world.push({"manifests/kept.yaml": None, "manifests/gone.yaml": None})
    assert (run.pruned, [name.rpartition("/")[2] for name in run.kept]) == (1, ["kept"])
    assert (world.value("kept"), world.value("gone")) == ("1", None)


def test_an_immutable_field_is_an_error_that_says_what_to_do_until_the_object_may_be_replaced(world: World) -> None:
    frozen = {"immutable": True}
    first = yaml.safe_dump({**yaml.safe_load(config_map("frozen", "1")), **frozen})
    second = yaml.safe_load(config_map("frozen", "2")) | frozen
    world.push({"manifests/f.yaml": first})
    run = world.push({"manifests/f.yaml": yaml.safe_dump(second)})
    assert run.phase == "Failed"
    assert "windlass.dev/replace" in run.errors[0]
    second["metadata"]["annotations"] = {"windlass.dev/replace": "true"}
    run = world.push({"manifests/f.yaml": yaml.safe_dump(second)})
    assert run.errors == []
    assert world.value("frozen") == "2"


def test_ten_commits_in_a_row_starve_nobody(world: World) -> None:
    late = {WAVE.replace("/", "__"): "1"}
    for number in range(10):
        world.deliver(
            world.work.commit_and_push(
                {
                    "manifests/d.yaml": deployment(f"web{number}"),
                    "manifests/late.yaml": annotated("late", json.dumps(number), **late),
                }
            )
        )
        time.sleep(0.3)
    until(lambda: world.value("late") == "9", show=lambda: world.windlass.log("worker")[-3000:])
