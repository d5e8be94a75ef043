"""What Redis knows of sources and applications that no document names any more is forgotten: not at once, for a document may
be wrong for an hour and come back, but after a week.

What must hold: nothing is lost by it that the cluster doesn't know. The objects of an application without a document stay
where they are, and `windlass delete` finds them by their labels.
"""

from __future__ import annotations

import asyncio
from collections.abc import Set

import structlog
from redis.exceptions import RedisError

from windlass import state
from windlass.wire import text
from workers.context import Context

log = structlog.get_logger(__name__)

FIRST_SECONDS, EVERY_SECONDS = 60.0, 3600.0
KEEP_SECONDS = 7 * 86400
SLICE = 500

SOURCE, APPLICATION = "windlass:source:", "windlass:app:"


class Tidier:
    """One a worker; several at once do no harm. What is named again within the week is kept."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def run(self) -> None:
        """Now and then, for as long as the worker lives."""
        pause = FIRST_SECONDS
        while True:
            await asyncio.sleep(pause)
            pause = EVERY_SECONDS
            try:
                await self.tidy()
            except RedisError as error:
                log.warning("redis.unreachable", error=str(error))

    async def tidy(self) -> None:
        """Look at everything once."""
        catalog = self._context.catalog
        await self._forget(SOURCE, catalog.queued.keys())
        await self._forget(APPLICATION, catalog.applications.keys())
        for cluster in catalog.clusters:
            await self._release(cluster)

    async def _forget(self, prefix: str, known: Set[str]) -> None:
        redis = self._context.redis
        async for raw in redis.scan_iter(match=f"{prefix}*", count=SLICE):
            key = text(raw)
            name, _, part = key.removeprefix(prefix).partition(":")
            if part == "refused":
                continue  # it has a time limit of its own
            for_ever = await redis.ttl(key) == -1
            if name in known and not for_ever:
                await redis.persist(key)
            elif name not in known and for_ever:
                await redis.expire(key, KEEP_SECONDS)
                log.info("redis.forgetting", key=key, days=KEEP_SECONDS // 86400)

    async def _release(self, cluster: str) -> None:
        """The claims of those of whom nothing else is known."""
        redis, key = self._context.redis, state.claims_key(cluster)
        gone: dict[str, bool] = {}
        async for field, raw in redis.hscan_iter(key, count=SLICE):
            holder = text(raw)
            if holder not in gone:
                there = holder in self._context.catalog.applications
                gone[holder] = not there and not await redis.exists(state.application_key(holder))
            if gone[holder]:
                await redis.hdel(key, text(field))
