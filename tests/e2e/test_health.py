"""Health, followed: an application's state, its runs and its commit tell how what was applied fares, as it happens."""

from __future__ import annotations

import asyncio

import pytest
import redis as redis_client

from tests.e2e.test_order import deployment, document
from tests.e2e.world import World, config_map
from tests.parts.waiting import until
from windlass.health import HealthState
from windlass.state import read_state

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
