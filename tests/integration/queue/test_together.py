"""Commands of many tasks that travel together, on a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import BlockingConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from tests.parts.redis_server import RedisServer
from windlass.queue.together import Together


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Together]:
    pool = BlockingConnectionPool.from_url(redis_url, socket_timeout=20.0)
    async with Together.from_pool(pool) as made:
        yield made


async def calls(client: Together) -> int:
    """How often anything was read from a connection: what travels together is read together."""
    return int((await client.info("stats"))["total_reads_processed"])


async def test_each_gets_its_own_answer(client: Together) -> None:
    answers = await asyncio.gather(*(client.set(f"key-{i}", i) for i in range(1200)))
    assert answers == [True] * 1200
    assert await asyncio.gather(*(client.get(f"key-{i}") for i in range(1200))) == [
        str(i).encode() for i in range(1200)
    ]


async def test_what_is_asked_at_the_same_time_travels_together(client: Together) -> None:
    before = await calls(client)
    await asyncio.gather(*(client.incr("n") for _ in range(400)))
    assert await calls(client) - before < 40


async def test_commands_arrive_in_their_order(client: Together) -> None:
    await asyncio.gather(*(client.rpush("list", i) for i in range(1200)))
    assert await client.lrange("list", 0, -1) == [str(i).encode() for i in range(1200)]


async def test_an_error_is_only_its_own(client: Together) -> None:
    await client.set("text", "no list")
    answers = await asyncio.gather(
        client.get("text"), client.lpush("text", 1), client.get("text"), return_exceptions=True
    )
    assert answers[0] == answers[2] == b"no list"
    assert isinstance(answers[1], ResponseError)


async def test_a_batch_of_one_task_answers_in_its_order_and_raises_its_first_error(client: Together) -> None:
    pipeline = client.pipeline(transaction=False)
    pipeline.set("a", 1).lpush("a", 2).get("a")
    with pytest.raises(ResponseError):
        await pipeline.execute()
    pipeline.get("a").hgetall("none")
    assert await pipeline.execute() == [b"1", {}]


async def test_a_transaction_is_still_one(client: Together) -> None:
    async with client.pipeline(transaction=True) as pipeline:
        pipeline.set("a", 1).incr("a")
        assert await pipeline.execute() == [True, 2]


async def test_a_script_that_redis_does_not_know_yet_is_loaded(client: Together) -> None:
    script = client.register_script("return ARGV[1]")
    assert await asyncio.gather(*(script(args=[str(i)]) for i in range(50))) == [str(i).encode() for i in range(50)]


async def test_who_gives_up_changes_nothing_for_the_others(client: Together) -> None:
    asking = [asyncio.create_task(client.incr("n")) for _ in range(10)]
    await asyncio.sleep(0)
    asking[3].cancel()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(answers[3], asyncio.CancelledError)
    assert sum(isinstance(answer, int) for answer in answers) == 9


async def test_what_blocks_is_refused(client: Together) -> None:
    with pytest.raises(ValueError, match="BLPOP"):
        await client.blpop(["list"], timeout=1)


async def test_everybody_hears_that_redis_went_away_and_goes_on_when_it_is_back(tmp_path) -> None:
    server = RedisServer(tmp_path)
    with server:
        pool = BlockingConnectionPool.from_url(server.url, socket_timeout=5.0, retry_on_error=[])
        async with Together.from_pool(pool) as client:
            await client.set("a", 1)
            server.stop()
            answers = await asyncio.gather(*(client.get("a") for _ in range(20)), return_exceptions=True)
            assert all(isinstance(answer, RedisConnectionError) for answer in answers)
            server.start()
            async with asyncio.timeout(30):
                while True:
                    with contextlib.suppress(RedisConnectionError):
                        assert await client.set("a", 2)
                        break


async def test_who_waits_when_it_is_closed_is_told_so(redis_url: str) -> None:
    client = Together.from_pool(BlockingConnectionPool.from_url(redis_url, socket_timeout=20.0))
    await client.set("a", 1)
    asking = [asyncio.ensure_future(client.get("a")) for _ in range(5)]
    await asyncio.sleep(0)
    await client.aclose()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(answer, RedisConnectionError | bytes) for answer in answers)
