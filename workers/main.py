"""The processes of this side, put together: a worker, that takes jobs, and a watcher, that only watches the clusters."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import structlog
from redis.asyncio import Redis as AsyncRedis

from windlass.exposed import exposed
from windlass.feed import documents_of
from windlass.queue import LeaseKeeper, SourceQueue
from windlass.queue.connections import connect, connect_async
from windlass.queue.together import Together
from windlass.settings import Settings
from workers.context import Context
from workers.notify.sender import Sender
from workers.pipeline.story import Pipelines
from workers.polling import Poller
from workers.preview.story import Previewer
from workers.promote.follow import Follower
from workers.promote.proposer import Proposer
from workers.promote.story import Promoter
from workers.reconcile import Reconciler
from workers.registry.poller import RegistryPoller
from workers.report import Reporter
from workers.resources.role import ResourceReader
from workers.rollback import Automatic
from workers.services import kept_running, stop
from workers.sweeper import Sweeper
from workers.tidying import Tidier
from workers.watch.role import Watcher
from workers.worker import WindlassWorker

log = structlog.get_logger(__name__)

SOCKET_SECONDS = 10.0
COLLECT = (10_000, 20, 20)
"""The collector's thresholds: a push allocates some thousands of objects, and must not pay for looking at all others."""
REDIS_CONNECTIONS = 32
"""More than that only wait: thousands of applications may want one at once."""


class Parts(NamedTuple):
    """What every process of this side is made of."""

    context: Context
    redis: AsyncRedis
    keeper: LeaseKeeper
    sweeper: Sweeper
    reporter: Reporter

    async def watch(self) -> None:
        """Leases are given once somebody has looked at Redis' epoch."""
        await self.sweeper.looked.wait()
        automatic, follower = Automatic(self.context, self.reporter), Follower(self.context)

        async def health_changed(application: str) -> None:
            await automatic.health_changed(application)
            await follower.health_changed(application)

        await Watcher(self.context, health_changed).run()

    async def read_resources(self) -> None:
        """As `watch`, of custom resources."""
        await self.sweeper.looked.wait()
        await ResourceReader(self.context).run()


def run(settings: Settings, *, fresh_redis: bool = False) -> None:
    """Work until told to stop."""
    asyncio.run(_work(settings, fresh_redis))


def watch(settings: Settings) -> None:
    """Watch the clusters, and take no job, until told to stop."""
    asyncio.run(_watch(settings))


async def _work(settings: Settings, fresh_redis: bool) -> None:
    async with _parts(settings, fresh_redis) as parts:
        context, sweeper, reporter = parts.context, parts.sweeper, parts.reporter
        proposer = Proposer(context.repositories, context.secrets)
        promoter, previewer, pipelines = Promoter(context, proposer), Previewer(context), Pipelines(context)
        connection = connect(str(settings.redis_url), connect_seconds=SOCKET_SECONDS)
        worker = WindlassWorker(
            settings.queue,
            connection=connection,
            redis=parts.redis,
            keeper=parts.keeper,
            functions={
                "reconcile": Reconciler(context, reporter).reconcile,
                "preview": previewer.preview,
                "build": pipelines.build,
                "promote": promoter.promote,
            },
            services=[
                context.warm,
                context.tidy,
                context.hear,
                Tidier(context).run,
                sweeper.sweep,
                sweeper.retry,
                sweeper.documents,
                reporter.run,
                Poller(context).run,
                RegistryPoller(context).run,
                Follower(context).run,
                Sender(context).run,
                parts.watch,
                parts.read_resources,
            ],
            ready=sweeper.looked.wait,
            concurrency=settings.concurrency,
            drain_seconds=settings.drain_seconds,
        )
        try:
            await worker.run()
        finally:
            connection.close()
            await promoter.close()
            await previewer.close()
            await pipelines.close()
            proposer.close()


async def _watch(settings: Settings) -> None:
    told, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    async with _parts(settings, fresh_redis=False) as parts:
        context, sweeper = parts.context, parts.sweeper
        hearing = (context.hear, sweeper.sweep, sweeper.documents)
        services = (context.warm, *hearing, parts.reporter.run, parts.watch, parts.read_resources)
        parts.keeper.start()
        log.info("watcher.ready")
        running = [asyncio.create_task(kept_running(service)) for service in services]
        try:
            await told.wait()
        finally:
            await stop(running)
            parts.keeper.close()


@asynccontextmanager
async def _parts(settings: Settings, fresh_redis: bool) -> AsyncIterator[Parts]:
    assert settings.redis_url is not None
    blocking = connect_async(
        settings.redis_url,
        seconds=SOCKET_SECONDS,
        connect_seconds=SOCKET_SECONDS,
        connections=REDIS_CONNECTIONS,
        wait=None,
    )
    redis = Together.from_pool(blocking.connection_pool)
    keeper = LeaseKeeper(redis, settings.redis_url, seconds=settings.lease_seconds)
    directory, feed = await documents_of(settings, redis)
    context = Context(
        settings,
        directory,
        redis=redis,
        queue=SourceQueue(redis, queue_name=settings.queue, keeper=keeper),
        leases=keeper,
        secret_key=settings.secret_key(),
        feed=feed,
    )
    gc.set_threshold(*COLLECT)
    try:
        async with exposed(settings.host, settings.metrics_port):
            yield Parts(
                context,
                blocking,
                keeper,
                Sweeper(context, fresh_redis=fresh_redis),
                Reporter(context),
            )
    finally:
        await context.close()
        await redis.aclose()
