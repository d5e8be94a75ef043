"""What a pipeline's builder says, kept in Redis while it says it: bounded, without secrets, gone after a week.

What must hold: a builder that says very much costs no more than the bound, and nothing waits for Redis to take a line.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from redis.exceptions import RedisError

LINES = 5000
"""Of one run that are kept: the last ones."""
LONGEST = 2000
KEEP_SECONDS = 7 * 86400
EVERY = 0.25
"""Seconds between two writes."""
HIDDEN = "(hidden)"
SHORTEST_SECRET = 4


def log_key(pipeline: str) -> str:
    """Redis' list of the lines of the last run."""
    return f"windlass:pipeline:{pipeline}:log"


class Log:
    """The lines of one run."""

    def __init__(self, redis: Redis, pipeline: str, secrets: Iterable[str]) -> None:
        self._redis, self._key = redis, log_key(pipeline)
        self._secrets = sorted((one for one in secrets if len(one) >= SHORTEST_SECRET), key=len, reverse=True)
        self._waiting: list[str] = []

    def say(self, line: str) -> None:
        """One more line; it is written soon."""
        for secret in self._secrets:
            line = line.replace(secret, HIDDEN)
        self._waiting = [*self._waiting[1 - LINES :], line[:LONGEST]]

    async def _write(self) -> None:
        lines, self._waiting = self._waiting, []
        if not lines:
            return
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.rpush(self._key, *lines)
            pipeline.ltrim(self._key, -LINES, -1)
            pipeline.expire(self._key, KEEP_SECONDS)
            await pipeline.execute()

    async def _keep_writing(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            with contextlib.suppress(RedisError):  # the run's own record will meet it, too
                await self._write()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Log]:
        """Begin anew, and write what is said until the block ends.

        :raises RedisError: it is away.
        """
        await self._redis.delete(self._key)
        writing = asyncio.create_task(self._keep_writing())
        try:
            yield self
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            await self._write()
