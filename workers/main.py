"""A worker process, put together: connections, documents, the registry of functions, and what runs beside the jobs."""

from __future__ import annotations

import asyncio
import gc

from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis

from windlass.documents.directory import DocumentDirectory
from windlass.queue import LeaseKeeper, SourceQueue
from windlass.settings import Settings
from workers.context import Context
from workers.polling import Poller
from workers.reconcile import Reconciler
from workers.report import Reporter
from workers.sweeper import Sweeper
from workers.watch.role import Watcher
from workers.worker import WindlassWorker

SOCKET_SECONDS = 10.0
COLLECT = (10_000, 20, 20)
"""The collector's thresholds: a push allocates some thousands of objects, and must not pay for looking at all others."""
REDIS_CONNECTIONS = 32
"""More than that only wait: thousands of applications may want one at once."""


def run(settings: Settings, *, fresh_redis: bool = False) -> None:
    """Work until told to stop."""
    asyncio.run(_run(settings, fresh_redis))


async def _run(settings: Settings, fresh_redis: bool) -> None:
    assert settings.redis_url is not None
    pool = BlockingConnectionPool.from_url(
        settings.redis_url,
        max_connections=REDIS_CONNECTIONS,
        timeout=None,
        socket_timeout=SOCKET_SECONDS,
        socket_connect_timeout=SOCKET_SECONDS,
    )
    redis = AsyncRedis.from_pool(pool)
    connection = Redis.from_url(settings.redis_url, socket_connect_timeout=SOCKET_SECONDS)
    keeper = LeaseKeeper(redis, settings.redis_url, seconds=settings.lease_seconds)
    context = Context(
        settings,
        DocumentDirectory(settings.documents),
        redis=redis,
        queue=SourceQueue(redis, queue_name=settings.queue, keeper=keeper),
        leases=keeper,
        secret_key=settings.secret_key(),
    )
    reporter, sweeper = Reporter(context), Sweeper(context, fresh_redis=fresh_redis)

    async def watch() -> None:
        """Leases are given once somebody has looked at Redis' epoch."""
        await sweeper.looked.wait()
        await Watcher(context, reporter.health_changed).run()

    worker = WindlassWorker(
        settings.queue,
        connection=connection,
        redis=redis,
        keeper=keeper,
        functions={"reconcile": Reconciler(context, reporter).reconcile},
        services=[
            context.warm,
            context.tidy,
            sweeper.sweep,
            sweeper.retry,
            sweeper.documents,
            reporter.run,
            Poller(context).run,
            watch,
        ],
        ready=sweeper.looked.wait,
        concurrency=settings.concurrency,
        drain_seconds=settings.drain_seconds,
    )
    gc.set_threshold(*COLLECT)
    try:
        await worker.run()
    finally:
        await context.close()
        await redis.aclose()
        connection.close()
