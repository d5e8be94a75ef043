"""What is known of an application's health, on a real Redis: always of what was applied last, by who watches now."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from redis.asyncio import Redis

from windlass.errors import LeaseLostError
from windlass.health import DEGRADED, HEALTHY, PROGRESSING, HealthState, begun, nothing_to_wait_for
from windlass.queue import RECORDED, Lease, LeaseKeeper, Recorded, SourceQueue
from windlass.state import RunRecord, application_key, read_history, read_state

WELL, ILL = HealthState(HEALTHY, reached=2.0), HealthState(DEGRADED)
RUN = RunRecord("e", "c", "Synced", started=1.0)


class Installation:
    def __init__(self, redis: Redis, keeper: LeaseKeeper) -> None:
        self.redis, self.keeper, self.queue = redis, keeper, SourceQueue(redis, keeper=keeper)
        self.watch: Lease

    async def run(
        self, *objects: str, health: HealthState | None = None, turn: bool = False, settled: bytes = b""
    ) -> None:
        """A run that recorded these objects."""
        lease = await self.keeper.acquire("application", "shop")
        raw = msgspec.json.encode(RUN)
        entries = dict.fromkeys(objects, b"hash - file")
        fields = {"phase": "Synced", "last": raw.decode()}
        await self.queue.record(
            lease,
            "shop",
            state=fields,
            set_objects=entries,
            history=raw,
            clean="source",
            health=health,
            turn=turn,
            settled=settled,
        )
        await lease.release()

    async def turn(self) -> int:
        return int(await self.redis.hget(application_key("shop"), "turn") or 0)

    async def told(self) -> str:
        return (await read_state(self.redis, "shop")).health.status


@pytest.fixture
async def world(redis_url: str) -> AsyncIterator[Installation]:
    redis = Redis.from_url(redis_url)
    keeper = LeaseKeeper(redis, redis_url, seconds=3.0)
    keeper.start()
    made = Installation(redis, keeper)
    await made.queue.epoch(fresh=True)
    made.watch = await keeper.acquire("watcher", "production")
    yield made
    await asyncio.to_thread(keeper.close)
    await redis.aclose()


async def test_a_run_that_wrote_what_has_health_begins_a_turn(world: Installation) -> None:
    await world.run("Deployment.apps/shop/web", health=begun(1.0), turn=True)
    assert (await world.told(), await world.turn()) == (PROGRESSING, 1)
    assert await world.queue.health(world.watch, "production", "shop", turn=1, health=WELL)
    assert await world.told() == HEALTHY


async def test_what_was_found_out_about_an_earlier_turn_is_refused(world: Installation) -> None:
    await world.run("Deployment.apps/shop/web", health=begun(1.0), turn=True)
    await world.run("Deployment.apps/shop/web", health=begun(2.0), turn=True)
    assert not await world.queue.health(world.watch, "production", "shop", turn=1, health=WELL)
    assert await world.told() == PROGRESSING


async def test_who_lost_the_watch_says_nothing_any_more(world: Installation) -> None:
    await world.run("ConfigMap/shop/a")
    before = world.watch
    await before.release()
    await world.keeper.acquire("watcher", "production")
    with pytest.raises(LeaseLostError):
        await world.queue.health(before, "production", "shop", turn=0, health=ILL)
    assert await world.told() == ""


async def test_a_run_that_wrote_nothing_of_the_kind_leaves_what_is_known(world: Installation) -> None:
    await world.run("ConfigMap/shop/a", health=nothing_to_wait_for(1.0))
    assert await world.told() == HEALTHY
    assert await world.queue.health(world.watch, "production", "shop", turn=0, health=ILL)
    await world.run("ConfigMap/shop/a", health=nothing_to_wait_for(2.0))
    assert (await world.told(), await world.turn()) == (DEGRADED, 0)


async def test_a_runs_record_says_what_became_of_it_unless_another_run_ended_meanwhile(world: Installation) -> None:
    await world.run("Deployment.apps/shop/web", health=begun(1.0), turn=True)
    old = msgspec.json.encode(RUN)
    new = msgspec.json.encode(msgspec.structs.replace(RUN, health=HEALTHY))
    for read, written in ((new, b"{}"), (old, new), (old, b"{}")):
        await world.queue.health(world.watch, "production", "shop", turn=1, health=WELL, record=(read, written))
    assert [run.health for run in await read_history(world.redis, "shop")] == [HEALTHY]
    last = (await read_state(world.redis, "shop")).last
    assert last is not None
    assert last.health == HEALTHY


async def test_every_record_names_its_objects_and_the_turn(world: Installation) -> None:
    async with world.redis.pubsub() as channel:
        await channel.subscribe(RECORDED)
        await world.run("Deployment.apps/shop/web", "ConfigMap/shop/a", health=begun(1.0), turn=True)
        heard: list[Recorded] = []
        async with asyncio.timeout(20):
            while not heard:
                message = await channel.get_message(ignore_subscribe_messages=True, timeout=1)
                heard += [Recorded.load(message["data"])] if message else []
    assert heard == [Recorded("shop", True, 1, ("Deployment.apps/shop/web", "ConfigMap/shop/a"))]


@pytest.mark.parametrize(("known", "said"), [(WELL, HEALTHY), (ILL, ""), (None, "")])
async def test_a_run_that_changed_nothing_of_health_says_healthy_itself_only_where_that_is_known(
    world: Installation, known: HealthState | None, said: str
) -> None:
    if known is not None:
        assert await world.queue.health(world.watch, "production", "shop", turn=0, health=known)
    healthy = msgspec.structs.replace(RUN, health=HEALTHY)
    await world.run("ConfigMap/shop/a", settled=msgspec.json.encode(healthy))
    last = (await read_state(world.redis, "shop")).last
    assert last is not None
    assert [last.health, *(run.health for run in await read_history(world.redis, "shop"))] == [said, said]


async def test_health_that_can_not_be_read_is_none(world: Installation) -> None:
    await world.redis.set("windlass:app:shop:health", b"\xff{")
    assert await world.told() == ""
