"""Promotions that wait for an application, or for somebody to merge, or that tell what became of a merge, are looked at as soon
as an application's run is over, or its health is another one."""

from __future__ import annotations

import asyncio

import structlog
from redis.exceptions import RedisError

from windlass.documents.catalog import Catalog
from windlass.documents.promotions import PromotionView
from windlass.queue import RECORDED, Recorded
from workers.context import Context
from workers.promote.state import PromotionStore

log = structlog.get_logger(__name__)

PAUSE = 1.0
"""Seconds before Redis is listened to again, after it went away. What was missed is found by the promotion's own look."""


class Follower:
    """A worker's service; several workers at once do no harm, a nudge of what waits is one job."""

    def __init__(self, context: Context) -> None:
        self._context, self._store = context, PromotionStore(context.redis, context.secret_key)

    async def run(self) -> None:
        """Listen for as long as the worker lives."""
        while True:
            try:
                await self._listen()
            except (RedisError, OSError) as error:
                log.warning("redis.unreachable", error=str(error))
                await asyncio.sleep(PAUSE)

    async def _listen(self) -> None:
        async with self._context.redis.pubsub() as channel:
            await channel.subscribe(RECORDED)
            while True:
                message = await channel.get_message(ignore_subscribe_messages=True, timeout=5.0)
                if message is not None:
                    recorded = Recorded.load(message["data"])
                    if recorded.over:
                        await self._nudge(recorded.application, f"{recorded.application} was applied")

    async def health_changed(self, application: str) -> None:
        """A watcher found out that the application's health is another one."""
        await self._nudge(application, f"{application}'s health changed")

    async def _nudge(self, application: str, reason: str) -> None:
        for view in concerned(self._context.catalog, application):
            state = await self._store.read(view.promotion.name)
            if state.phase in ("Waiting", "Proposed") or (state.phase == "Merged" and not state.settled):
                await self._context.queue.nudge(view.id, digest=view.digest, reason=reason)


def concerned(catalog: Catalog, application: str) -> list[PromotionView]:
    """The promotions that wait for this application, or that propose something to a repository that it follows."""
    document = catalog.applications.get(application)
    followed = {source.repository for source in document.spec.sources} if document is not None else set()
    return [
        view
        for view in catalog.promotions.values()
        if any(after.application == application for after in view.promotion.spec.gates.after)
        or view.promotion.spec.target.repository in followed
    ]
