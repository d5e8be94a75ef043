"""Redis behind Sentinels, with real fail-overs: every client finds the new master by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.parts.sentinel import SentinelRedis
from tests.parts.waiting import until
from windlass.queue.connections import connect, connect_async
from windlass.queue.dashboard import make_dashboard_app

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelRedis]:
    made = SentinelRedis(Path(tmp_path_factory.mktemp("sentinel")))
    try:
        yield made.start()
    finally:
        made.stop()


def works(command: Callable[[], object]) -> bool:
    """Right after a fail-over it may not."""
    try:
        return bool(command())
    except RedisError:
        return False


async def written(redis: Redis, name: str, value: str) -> None:
    """Set a value, tried again for as long as there is no master."""
    async with asyncio.timeout(30):
        while True:
            try:
                await redis.set(name, value)
            except RedisError:
                await asyncio.sleep(0.05)
            else:
                return


@pytest.mark.parametrize("move", ["start", "demote_master", "kill_master"])
async def test_clients_of_both_kinds_and_the_dashboard_find_the_master(sentinel: SentinelRedis, move: str) -> None:
    """Also after it was told to step down, and still answers; and after it died."""
    blocking = connect(sentinel.url, seconds=2, connect_seconds=2)
    redis = connect_async(sentinel.url, seconds=2, connect_seconds=2, connections=2, wait=5)
    page = make_dashboard_app(sentinel.url).test_client()
    try:
        blocking.set("before", move)
        await redis.set("before", move)
        if move != "start":
            await asyncio.to_thread(getattr(sentinel, move))
        until(lambda: works(lambda: blocking.set("blocking", move)))
        await written(redis, "async", move)
        assert [blocking.get("async"), await redis.get("blocking")] == [move.encode()] * 2
        assert blocking.info("replication")["role"] == "master"
        until(lambda: works(lambda: page.get("/0/data/queues.json").status_code == 200))
    finally:
        blocking.close()
        await redis.aclose()


async def test_no_more_connections_than_allowed(sentinel: SentinelRedis) -> None:
    redis = connect_async(sentinel.url, seconds=5, connect_seconds=5, connections=2, wait=10)
    try:
        await asyncio.gather(*(redis.ping() for _ in range(50)))
        assert len(redis.connection_pool._available_connections) <= 2
    finally:
        await redis.aclose()


async def test_a_wrong_master_is_an_error_that_says_so(sentinel: SentinelRedis) -> None:
    redis = connect_async(sentinel.url.replace("mymaster", "another"), seconds=2, connect_seconds=2)
    try:
        with pytest.raises(RedisError, match="another"):
            await redis.ping()
    finally:
        await redis.aclose()
