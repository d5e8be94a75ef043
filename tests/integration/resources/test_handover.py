"""Custom resources through Redis: what isn't the watcher's own word, complete and newer, changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from windlass.documents.resources import Resource
from windlass.queue.resources import KEY, Handover, Listener

pytestmark = pytest.mark.integration

SECRET = b"a key of the tests, long enough to be one"
ONE = Resource("Application", "team-a", "shop", "u1", "2026-01-01T00:00:00Z", 1, {"sources": [{"repository": "web"}]})
TWO = Resource("Repository", "team-a", "web", "u2", "2026-01-01T00:00:00Z", 1, {"url": "https://git.example/web.git"})


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as connection:
        yield connection


async def test_what_is_written_is_heard_once(redis: Redis) -> None:
    watcher, listener = Handover(redis, SECRET), Listener(Handover(redis, SECRET))
    assert await listener.look() is None
    generation = await watcher.write([ONE, TWO], after=0)
    handed = await listener.look()
    assert handed is not None
    assert (handed.generation, handed.resources) == (generation, (ONE, TWO))
    assert await listener.look() is None


async def test_generations_grow_whatever_the_clock_says(redis: Redis) -> None:
    watcher = Handover(redis, SECRET)
    far = 10**15
    assert await watcher.write([ONE], after=far) == far + 1
    assert await Handover(redis, SECRET).write([TWO], after=0) == far + 2


async def test_whoever_has_another_key_says_nothing(redis: Redis) -> None:
    listener = Listener(Handover(redis, SECRET))
    await Handover(redis, b"somebody else's key, which is long enough").write([ONE], after=0)
    assert await listener.look() is None


@pytest.mark.parametrize("field", ["generation", "body", "mac"])
async def test_what_was_changed_in_redis_counts_for_nothing(redis: Redis, field: str) -> None:
    await Handover(redis, SECRET).write([ONE], after=0)
    value = await redis.hget(KEY, field)
    assert isinstance(value, bytes)
    await redis.hset(KEY, field, value[:-1] + (b"1" if value[-1:] != b"1" else b"2"))
    assert await Listener(Handover(redis, SECRET)).look() is None


@pytest.mark.parametrize("field", ["generation", "body", "mac"])
@pytest.mark.parametrize("value", [b"", b"-1", b"many", b"9" * 5000, b"\xff"])
async def test_nonsense_in_redis_is_survived(redis: Redis, field: str, value: bytes) -> None:
    await Handover(redis, SECRET).write([ONE], after=0)
    await redis.hset(KEY, field, value)
    assert await Listener(Handover(redis, SECRET)).look() is None


async def test_what_was_said_earlier_is_not_heard_again(redis: Redis) -> None:
    """A set that was signed once, and put back by somebody who writes Redis."""
    watcher, listener = Handover(redis, SECRET), Listener(Handover(redis, SECRET))
    await watcher.write([ONE], after=0)
    old = await redis.hgetall(KEY)
    await watcher.write([TWO], after=0)
    assert await listener.look() is not None
    await redis.hset(KEY, mapping=old)
    assert await listener.look() is None


async def test_a_lost_memory_is_no_news_until_the_watcher_writes_again(redis: Redis) -> None:
    watcher, listener = Handover(redis, SECRET), Listener(Handover(redis, SECRET))
    generation = await watcher.write([ONE], after=0)
    assert await listener.look() is not None
    await redis.flushall()
    assert await listener.look() is None
    await watcher.write([ONE, TWO], after=generation)
    handed = await listener.look()
    assert handed is not None
    assert len(handed.resources) == 2


async def test_a_redis_that_is_away_is_survived(redis: Redis) -> None:
    away = Redis.from_url("redis://127.0.0.1:1/0")
    assert await Listener(Handover(away, SECRET)).look_safely() is None
    await away.aclose()
