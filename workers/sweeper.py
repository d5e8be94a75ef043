"""What makes sure that nothing is forgotten: lost jobs, a Redis that lost its memory, retries that are due, new documents."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import structlog
from redis.exceptions import RedisError

from windlass.documents.catalog import SourceView
from windlass.documents.pipelines import PipelineView
from windlass.documents.promotions import PromotionView
from windlass.state import read_states
from workers.application import document_digest
from workers.context import Context
from workers.dependencies import wake
from workers.inventory import refused_by

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 5.0
RETRY_SECONDS = 0.25
"""How exactly a retry is due."""
DOCUMENTS_SECONDS = 1.0


class Sweeper:
    """One a worker; several at once do no harm, every step is a script."""

    def __init__(self, context: Context, *, fresh_redis: bool = False) -> None:
        self._context, self._fresh = context, fresh_redis
        self.looked = asyncio.Event()  # the epoch was looked at once: jobs may be taken

    async def sweep(self) -> None:
        """At once, and every 5 s: the epoch, then sources whose generation is ahead and that have no live job."""
        started = False
        while True:
            try:
                new = await self._context.queue.epoch(
                    fresh=self._fresh, settle_seconds=self._context.leases.seconds + 2
                )
                self._fresh = False
                self.looked.set()
                if new:
                    log.warning("redis.memory_is_new", sources=len(self._context.catalog.sources))
                    await self._nudge(self._context.catalog.queued.values(), "Redis' memory is new")
                elif not started:
                    await self._nudge(await self._behind(), "the documents changed")
                started = True
                digests = {view.id: view.digest for view in self._context.catalog.queued.values()}
                for source in await self._context.queue.sweep(digests):
                    log.warning("source.swept", source=source)
            except RedisError as error:
                log.warning("redis.unreachable", error=str(error))
            await asyncio.sleep(SWEEP_SECONDS)

    async def retry(self) -> None:
        """Queue what failed when its time has come."""
        while True:
            try:
                for source in await self._context.queue.due_retries(time.time()):
                    view = self._context.catalog.queued.get(source)
                    if view is not None:
                        await self._context.queue.nudge(source, digest=view.digest, reason="retry")
                    else:
                        await self._context.redis.zrem("windlass:retries", source)
            except RedisError as error:
                log.warning("redis.unreachable", error=str(error))
            await asyncio.sleep(RETRY_SECONDS)

    async def documents(self) -> None:
        """Follow the documents' directory and the custom resources, and look at the sources that they changed."""
        feed = self._context.feed
        while True:
            await (feed.news(DOCUMENTS_SECONDS) if feed is not None else asyncio.sleep(DOCUMENTS_SECONDS))
            before, known = self._context.catalog.queued, self._context.catalog.applications
            if not await asyncio.to_thread(self._context.reload):
                continue
            changed = [
                view
                for view in self._context.catalog.queued.values()
                if view.id not in before or before[view.id].digest != view.digest
            ]
            try:
                await self._nudge(changed, "the documents changed")
                for name in known.keys() - self._context.catalog.applications.keys():
                    free = await refused_by(self._context.redis, name)
                    await wake(self._context, free, f"{name} is gone")
            except RedisError as error:
                log.warning("redis.unreachable", error=str(error))

    async def _nudge(self, views: Iterable[SourceView | PromotionView | PipelineView], reason: str) -> None:
        for view in views:
            await self._context.queue.nudge(view.id, digest=view.digest, reason=reason)

    async def _behind(self) -> list[SourceView]:
        """The sources of which an application's document is not the one that was applied."""
        behind = []
        for view in self._context.catalog.sources.values():
            states = await read_states(self._context.redis, [app.name for app in view.applications])
            digests = [document_digest(app, self._context.catalog.limits_of(app)) for app in view.applications]
            if any(state.document != digest for state, digest in zip(states, digests, strict=True)):
                behind.append(view)
        return behind
