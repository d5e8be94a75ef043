"""Push mode, whole: an image that Git does not name is applied and followed; who follows Git by itself is not overruled."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.world import World
from tests.parts.waiting import until
from tests.parts.windlass import application, cluster, repository

pytestmark = pytest.mark.e2e

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers: [{name: init, image: "registry.example/shop/init:1"}]
      containers:
        - {name: web, image: "registry.example/shop/web:1.0.0", resources: {requests: {cpu: "1"}}}
"""
NEW = "registry.example/shop/web:1.1.0"


def by_hand(world: World, **sync: Any) -> None:
    world.push({"manifests/web.yaml": WEB})
    before = world.windlass.log("worker").count("documents.loaded")
    world.windlass.write(
        repository(world.name, world.url, forge="generic"),
        cluster("local", world.kubeconfig),
        application(
            world.name,
            repository=world.name,
            path="manifests",
            namespace=world.name,
            sync={"automatic": False, "timeout": "5s", **sync},
        ),
    )
    until(lambda: world.windlass.log("worker").count("documents.loaded") > before)


def images(world: World) -> list[str]:
    found = world.cluster.get(f"/apis/apps/v1/namespaces/{world.name}/deployments/web")
    assert found is not None
    pod = found["spec"]["template"]["spec"]
    return [container["image"] for container in (*pod["initContainers"], *pod["containers"])]


def deploy(world: World, image: str, *more: str) -> Any:
    return world.windlass.run("deploy", "--application", world.name, "--image", image, *more)


def test_an_image_is_planned_applied_and_followed_until_it_is_healthy(world: World) -> None:
    by_hand(world)
    planned = deploy(world, NEW, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert f"+      - image: {NEW}" in planned.stdout
    assert "init:1" not in [line for line in planned.stdout.splitlines() if line.startswith(("+", "-"))]
    assert images(world) == ["registry.example/shop/init:1", "registry.example/shop/web:1.0.0"]
    done = deploy(world, NEW, "--output", "json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["result"], [one["object"] for one in result["changes"]]) == (
        "Healthy",
        [f"Deployment.apps/{world.name}/web"],
    )
    assert images(world) == ["registry.example/shop/init:1", NEW]
    assert world.windlass.run("sync", world.name).returncode == 0, "a person says that Git is right again"
    assert images(world) == ["registry.example/shop/init:1", "registry.example/shop/web:1.0.0"]


def test_a_rollout_that_fails_says_why_and_exits_non_zero(world: World) -> None:
    by_hand(world)
    world.deliver(world.work.commit_and_push({"manifests/web.yaml": WEB.replace('cpu: "1"', 'cpu: "1000"')}))
    until(lambda: world.windlass.last_run(world.name).revision == world.work.head)
    failed = deploy(world, NEW)
    assert failed.returncode == 1
    assert "Deployment.apps" in failed.stderr
    assert "Degraded" in failed.stderr


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("registry.example/shop/other:1", "they have registry.example/shop/init:1, registry.example/shop/web:1.0.0"),
        ("registry.example/shop/web", "expected an image with a tag or a digest"),
    ],
)
def test_what_no_container_has_is_an_error_that_says_what_they_have(world: World, image: str, said: str) -> None:
    by_hand(world)
    refused = deploy(world, image)
    assert (refused.returncode, said in refused.stderr) == (1, True), refused.stderr


def test_who_follows_git_by_itself_is_not_overruled_unless_forced(world: World) -> None:
    world.push({"manifests/web.yaml": WEB})
    refused = deploy(world, NEW)
    assert (refused.returncode, "follows Git by itself" in refused.stderr) == (1, True)
    assert deploy(world, NEW, "--force").returncode == 0
    assert NEW in images(world)
    world.push({"manifests/web.yaml": WEB.replace("1.0.0", "1.2.0")})
    assert images(world)[1].endswith(":1.2.0")
