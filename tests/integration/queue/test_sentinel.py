"""Redis behind Sentinels, with real fail-overs: every client finds the new master by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
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


def again(command: Callable[[], object]) -> bool:
    """Did it work? Right after a fail-over it may not, once."""
    try:
        command()
    except RedisError:
        return False
    return True


async def again_async(redis: object, *command: str) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await redis.execute_command(*command)  # type: ignore[attr-defined]
            except RedisError:
                await asyncio.sleep(0.05)
            else:
                return


async def test_clients_of_both_kinds_and_the_dashboard_follow_the_master(sentinel: SentinelRedis) -> None:
    """First to where a master was told to step down, which still answers; then from one that is dead."""
    blocking = connect(sentinel.url, seconds=2, connect_seconds=2)
    redis = connect_async(sentinel.url, seconds=2, connect_seconds=2, connections=2, wait=5)
    page = make_dashboard_app(sentinel.url).test_client()
    try:
        for step, move in enumerate((lambda: None, sentinel.demote_master, sentinel.kill_master)):
            await asyncio.to_thread(move)
            until(lambda: again(lambda step=step: blocking.set("blocking", step)))  # type: ignore[misc]
            await again_async(redis, "SET", "async", str(step))
            assert (blocking.get("async"), await redis.get("blocking")) == (str(step).encode(),) * 2
            assert int(blocking.info("replication")["role"] == "master")
            until(lambda: page.get("/queues.json").status_code == 200 if _page(page) else False)
    finally:
        blocking.close()
        await redis.aclose()


def _page(page: object) -> bool:
    """Did the dashboard answer at all? Its client raises what the application raises."""
    try:
        page.get("/queues.json")  # type: ignore[attr-defined]
    except RedisError:
        return False
    return True


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
