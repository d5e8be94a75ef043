"""Rollbacks: with Git away, held until released, or by themselves from what never became healthy; unreadable in Redis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.e2e.world import World, config_map
from tests.parts.waiting import until
from tests.parts.windlass import application, cluster, repository
from workers.kept import index_key, marks_key, set_key

pytestmark = pytest.mark.e2e

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: example/web:1
          resources: {requests: {cpu: "CPU"}}
"""
SECRET = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: token\nstringData:\n  token: the-canary\n"


@pytest.fixture
def keeping(parts_folder: Path, unique: str, kubeconfig: Path) -> Iterator[World]:
    """A world that keeps rendered sets."""
    folder = parts_folder / unique
    folder.mkdir()
    world = World(folder, unique, kubeconfig)
    (folder / "keys").write_text("the key of the sets that are kept in tests\n")
    world.windlass.environment["WINDLASS_KEEP_KEY_FILE"] = str(folder / "keys")
    try:
        world.start()
        yield world
    finally:
        world.stop()


def memory(world: World) -> redis.Redis:
    return redis.Redis.from_url(world.redis.url)


def is_kept_healthy(world: World, commit: str) -> None:
    """The set is kept, and known to be of a healthy revision."""
    until(
        lambda: memory(world).hexists(marks_key(world.name), commit), show=lambda: world.windlass.log("worker")[-3000:]
    )


def phase(world: World) -> str:
    shown = world.windlass.run("status", world.name, "--json")
    (state,) = json.loads(shown.stdout)["applications"]
    return str(state["phase"])


def test_with_git_away_it_goes_back_holds_and_is_released(keeping: World) -> None:
    world = keeping
    world.push({"manifests/a.yaml": config_map("a", "good"), "manifests/t.yaml": SECRET})
    good = world.work.head
    is_kept_healthy(world, good)
    world.push({"manifests/a.yaml": config_map("a", "bad"), "manifests/new.yaml": config_map("new", "1")})
    world.git.down = True
    done = world.windlass.run("rollback", world.name)
    assert done.returncode == 0, done.stderr
    assert f"Held at {good[:10]}" in done.stdout
    assert (world.value("a"), world.value("new")) == ("good", None)
    world.git.down = False

    world.push({"manifests/a.yaml": config_map("a", "later")})
    assert (phase(world), world.value("a")) == ("Held", "good")
    refused = world.windlass.run("sync", world.name)
    assert (refused.returncode, "held at" in refused.stderr) == (1, True)

    assert world.windlass.run("rollback", world.name, "--release").returncode == 0
    until(lambda: (world.value("a"), world.value("new")) == ("later", "1"))
    until(lambda: phase(world) == "Synced")


def test_a_hold_outlives_redis_and_nobody_who_writes_redis_ends_it_or_reads_what_is_kept(keeping: World) -> None:
    world = keeping
    world.push({"manifests/a.yaml": config_map("a", "good"), "manifests/t.yaml": SECRET})
    good = world.work.head
    is_kept_healthy(world, good)
    world.push({"manifests/a.yaml": config_map("a", "bad")})
    assert world.windlass.run("rollback", world.name, good[:8]).returncode == 0
    connection = memory(world)
    for key in connection.keys("*"):
        assert b"the-canary" not in (connection.dump(key) or b""), key

    connection.hset(f"windlass:app:{world.name}", "hold", "")
    world.deliver(world.work.commit_and_push({"manifests/a.yaml": config_map("a", "worse")}))
    until(lambda: phase(world) == "Held")
    assert world.value("a") == "good"

    connection.flushall()
    world.deliver(world.work.commit_and_push({"manifests/a.yaml": config_map("a", "worst")}))
    until(lambda: "no rendered set" in " ".join(world.windlass.last_run(world.name).errors), seconds=60)
    assert world.value("a") == "good"
    assert world.windlass.run("rollback", world.name, "--release").returncode == 0
    until(lambda: world.value("a") == "worst")


def test_a_set_that_somebody_put_there_is_refused(keeping: World) -> None:
    world = keeping
    first = world.work.head
    is_kept_healthy(world, first)
    world.push({"manifests/a.yaml": config_map("a", "2")})
    second = world.work.head
    is_kept_healthy(world, second)
    connection = memory(world)
    connection.set(set_key(world.name, first), connection.get(set_key(world.name, second)) or b"")
    done = world.windlass.run("rollback", world.name, first)
    assert (done.returncode, world.value("a")) == (1, "2")
    assert "was changed, or is another" in done.stderr
    assert phase(world) == "Synced"


def test_the_last_ten_healthy_sets_are_kept(keeping: World) -> None:
    world, heads = keeping, []
    for number in range(12):
        world.push(
            {
                "manifests/a.yaml": config_map("a", str(number)),
                f"manifests/{number}.yaml": config_map(f"c{number}", "1"),
            }
        )
        heads.append(world.work.head)
        is_kept_healthy(world, heads[-1])
    kept = {raw.decode() for raw in memory(world).zrange(index_key(world.name), 0, -1)}
    assert kept == set(heads[-10:])
    assert world.windlass.run("rollback", world.name, heads[4]).returncode == 0
    assert [world.value(f"c{number}") for number in (4, 5, 11)] == ["1", None, None]


def test_what_never_becomes_healthy_is_left_by_itself_until_a_commit_mends_it(keeping: World) -> None:
    world = keeping
    world.windlass.write(
        repository(world.name, world.url, forge="generic"),
        cluster("local", world.kubeconfig),
        application(
            world.name,
            repository=world.name,
            path="manifests",
            namespace=world.name,
            sync={"rollback": "automatic", "timeout": "5s"},
        ),
    )
    world.push({"manifests/web.yaml": DEPLOYMENT.replace("CPU", "1")})
    good = world.work.head
    is_kept_healthy(world, good)
    world.push({"manifests/web.yaml": DEPLOYMENT.replace("CPU", "1000")})
    bad = world.work.head
    until(lambda: phase(world) == "RolledBack", seconds=60, show=lambda: world.windlass.log("worker")[-3000:])
    shown = world.windlass.run("status", world.name)
    assert f"rolled back to {good[:10]}, because {bad[:10]} failed" in shown.stdout + shown.stderr
    until(lambda: cpu(world) == "1")

    world.deliver(world.work.commit_and_push({"manifests/web.yaml": DEPLOYMENT.replace("CPU", "2")}))
    until(lambda: phase(world) == "Synced" and cpu(world) == "2", seconds=60)


def cpu(world: World) -> str:
    found = world.cluster.get(f"/apis/apps/v1/namespaces/{world.name}/deployments/web")
    assert found is not None
    return str(found["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"])


def test_without_a_key_nothing_is_kept_and_that_is_said(world: World) -> None:
    done = world.windlass.run("rollback", world.name)
    assert (done.returncode, "WINDLASS_KEEP_KEY_FILE" in done.stderr) == (1, True)
    assert not memory(world).keys("windlass:kept:*")
    assert "no rendered sets are kept" in world.windlass.run("check", str(world.windlass.documents)).stdout
