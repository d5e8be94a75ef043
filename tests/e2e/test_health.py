"""Health, followed: an application's state, its runs and its commit tell how what was applied fares, as it happens."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import redis as redis_client

from tests.e2e.test_order import deployment, document
from tests.e2e.world import World, config_map
from tests.parts.control_plane import ControlPlane
from tests.parts.waiting import until
from windlass.health import HealthState
from windlass.state import read_state
from workers.watch.checks import SETTLED_PACE

pytestmark = pytest.mark.e2e


def health(world: World, name: str = "") -> HealthState:
    async def read() -> HealthState:
        async with redis_client.asyncio.Redis.from_url(world.redis.url) as connection:
            return (await read_state(connection, name or world.name)).health

    return asyncio.run(read())


def becomes(world: World, status: str, *, seconds: float = 90) -> HealthState:
    until(lambda: health(world).status == status, seconds=seconds, show=lambda: world.windlass.log("worker")[-4000:])
    return health(world)


def test_what_has_no_health_is_healthy_when_it_is_applied_and_nothing_is_read(world: World) -> None:
    assert health(world).status == "Healthy"
    world.push({"manifests/b.yaml": config_map("b", "1")})
    found = health(world)
    assert (found.status, found.objects) == ("Healthy", 0)


def test_a_rollout_becomes_healthy_fails_for_want_of_room_and_recovers_by_a_new_commit(world: World) -> None:
    document(world, timeout="6s")
    world.push({"manifests/d.yaml": deployment("web")})
    found = becomes(world, "Healthy")
    assert (found.objects, found.current) == (1, 1)
    until(lambda: "healthy" in world.windlass.last_run(world.name).durations)
    run = world.windlass.last_run(world.name)
    assert (run.phase, run.health) == ("Synced", "Healthy")
    assert run == world.runs()[0]
    assert "applied +" in (way := world.windlass.run("status", world.name).stdout)
    assert "healthy +" in way

    world.push({"manifests/d.yaml": deployment("web", cpu="10000")})
    found = becomes(world, "Degraded")
    [(name, why)] = found.unhealthy.items()
    assert name == f"Deployment.apps/{world.name}/web"
    assert why.reason == "Unschedulable"
    assert "nsufficient cpu" in why.message
    status = world.windlass.run("status", world.name)
    assert "Degraded" in status.stdout
    assert "Unschedulable" in status.stderr

    world.push({"manifests/d.yaml": deployment("web")})
    becomes(world, "Healthy")
    until(lambda: world.windlass.last_run(world.name).health == "Healthy")
    assert "Degraded" in world.runs()[1].health


def pods(plane: ControlPlane, world: World) -> list[dict[str, Any]]:
    found: Any = plane.request("GET", f"/api/v1/namespaces/{world.name}/pods")
    return list(found["items"])


def crash(plane: ControlPlane, pod: dict[str, Any]) -> None:
    """What the kubelet would say of a container that keeps ending."""
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}
    container = {
        "name": "c",
        "image": "example.com/web:1",
        "imageID": "",
        "ready": False,
        "restartCount": 3,
        "state": {"waiting": waiting},
        "lastState": {"terminated": {"exitCode": 1}},
    }
    conditions = [{"type": kind, "status": "False"} for kind in ("Ready", "ContainersReady")]
    path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}/status"
    patch = {"status": {"conditions": conditions, "containerStatuses": [container]}}
    plane.request("PATCH", path, patch, content_type="application/strategic-merge-patch+json")


def reads(plane: ControlPlane, world: World) -> int:
    """How often Windlass has read the Deployment."""
    path = f"/apis/apps/v1/namespaces/{world.name}/deployments/web"
    return len([e for e in plane.audited(user_agent="windlass", verbs=("get",)) if e["requestURI"] == path])


def flap(plane: ControlPlane, world: World, times: int) -> None:
    """Status updates that change nothing of the Deployment's health."""
    path = f"/apis/apps/v1/namespaces/{world.name}/deployments/web/status"
    for number in range(times):
        patch = {"status": {"collisionCount": number}}
        plane.request("PATCH", path, patch, content_type="application/merge-patch+json")


def test_pods_that_crash_later_degrade_a_healthy_application_until_they_are_mended(
    world: World, control_plane: ControlPlane
) -> None:
    world.push({"manifests/d.yaml": deployment("web")})
    becomes(world, "Healthy")
    run = world.windlass.last_run(world.name)
    before, began = reads(control_plane, world), time.monotonic()
    flap(control_plane, world, 40)
    assert reads(control_plane, world) - before <= 2 + (time.monotonic() - began) / SETTLED_PACE

    [pod] = pods(control_plane, world)
    crash(control_plane, pod)
    found = becomes(world, "Degraded")
    [why] = found.unhealthy.values()
    assert why.reason == "CrashLoopBackOff"
    control_plane.request(
        "DELETE", f"/api/v1/namespaces/{world.name}/pods/{pod['metadata']['name']}?gracePeriodSeconds=0"
    )
    becomes(world, "Healthy")
    assert world.windlass.last_run(world.name).revision == run.revision


def test_when_the_watcher_is_killed_another_one_goes_on_and_reads_nothing_that_is_settled(
    world: World, control_plane: ControlPlane
) -> None:
    world.push({"manifests/d.yaml": deployment("web")})
    becomes(world, "Healthy")
    until(lambda: world.windlass.last_run(world.name).health == "Healthy")
    first, second = world.windlass.workers[0], world.windlass.start_worker(fresh_redis=False)
    before = reads(control_plane, world)
    first.kill()
    first.wait()
    until(lambda: "health.compared" in world.windlass.log("worker-2"), show=lambda: world.windlass.log("worker-2"))
    assert reads(control_plane, world) == before
    assert second.poll() is None
    world.push({"manifests/d.yaml": deployment("web", cpu="20m")})
    until(lambda: world.windlass.last_run(world.name).health == "Healthy", show=lambda: world.windlass.log("worker-2"))
    assert becomes(world, "Healthy").current == 1
