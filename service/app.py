"""The service's process: an aiohttp application, its limits, and its life from the first document to the last delivery.

What must hold: whoever connects can't make it hold much (header, line and body limits, small socket buffers, no
decompression); on SIGTERM it stops listening, answers what it has begun, and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from service.endpoints import Resolver
from service.figures import Figures
from service.follow import Documents
from service.health import Health
from service.images import Images
from service.receiver import Receiver
from service.webhooks import Queue, Webhooks
from windlass.errors import WindlassError
from windlass.exposed import exposed
from windlass.feed import documents_of, secrets_of_senders
from windlass.listening import listener
from windlass.queue import SourceQueue
from windlass.queue.connections import connect_async
from windlass.secrets import Secrets
from windlass.settings import Settings

log = structlog.get_logger(__name__)

REDIS_SECONDS = 2.0
"""For Redis to answer; a forge waits 10 s for us, and should hear 503 before that."""
REDIS_CONNECTIONS = 32
RECEIVE_BUFFER = 32 * 1024
"""Bytes that a socket takes in before we read them: what a sender can make us hold beyond `service.bodies`' limits."""
READ_BUFFER = 16 * 1024
LINE_LIMIT = FIELD_LIMIT = 8 * 1024
HEADER_LIMIT = 100
IDLE_SECONDS = 75.0
LINGER_SECONDS = 1.0
"""For a sender to hear why its body isn't read, before the connection is cut."""
BACKLOG = 1024
STOP_SECONDS = 10.0
"""For what has begun to be answered after SIGTERM."""
RECEIVER = web.AppKey("receiver", Receiver)


def make_app(
    documents: Documents, queue: Queue, secrets: Resolver, redis: Redis, *, key: bytes, body_limit: int
) -> web.Application:
    """The application; whoever runs it starts `Documents.follow` beside it. ``key``: the installation's (WINDLASS_KEY)."""
    receiver = Receiver(body_limit)
    webhooks = Webhooks(documents, queue, secrets, receiver)
    images = Images(documents, queue, secrets, receiver, key)
    health = Health(documents, redis)
    app = web.Application(client_max_size=body_limit)
    app[RECEIVER] = receiver
    app.router.add_post("/webhooks/{name}", webhooks.receive)
    app.router.add_post("/images", images.from_ci)
    app.router.add_post("/registries/{name}", images.from_registry)
    app.router.add_post("/registries/{name}/{secret}", images.from_registry)
    app.router.add_get("/healthz", health.healthz)
    app.router.add_get("/readyz", health.readyz)
    return app


@asynccontextmanager
async def listening(app: web.Application, host: str, port: int) -> AsyncIterator[int]:
    """Serve ``app`` for as long as the block lasts; yields the port. On leaving, what has begun is answered first."""
    runner = web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,
        handle_signals=False,
        keepalive_timeout=IDLE_SECONDS,
        lingering_time=LINGER_SECONDS,
        max_field_size=FIELD_LIMIT,
        max_headers=HEADER_LIMIT,
        max_line_size=LINE_LIMIT,
        read_bufsize=READ_BUFFER,
        shutdown_timeout=1.0,
    )
    await runner.setup()
    library = logging.getLogger("aiohttp.server")
    library.addFilter(_in_one_line)
    try:
        bound = listener(host, port, receive_buffer=RECEIVE_BUFFER)
        site = web.SockSite(runner, bound, backlog=BACKLOG)
        await site.start()
        yield int(bound.getsockname()[1])
        await site.stop()
        await _drained(app[RECEIVER])
    finally:
        await runner.cleanup()
        library.removeFilter(_in_one_line)


def _in_one_line(record: logging.LogRecord) -> bool:
    """Whoever sends what is no HTTP must not fill our log with errors and tracebacks, for which aiohttp takes it."""
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, HttpProcessingError):
        return True
    log.warning("request.malformed", status=error.code, error=type(error).__name__)
    return False


async def _drained(receiver: Receiver) -> None:
    """Wait for what has begun; aiohttp's own shutdown stops reading from a connection whose body is still coming."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STOP_SECONDS):
            await receiver.idle()


def connect_redis(url: str) -> Redis:
    """A pool that fails fast: what Redis can't take now, the forge sends again."""
    return connect_async(
        url,
        seconds=REDIS_SECONDS,
        connect_seconds=REDIS_SECONDS,
        connections=REDIS_CONNECTIONS,
        wait=REDIS_SECONDS,
        retry=Retry(NoBackoff(), 1),
    )


async def serve(settings: Settings, *, stop: asyncio.Event | None = None) -> None:
    """Receive until SIGTERM or SIGINT (or ``stop``).

    :raises WindlassError: there is no Redis to queue in, or no address to listen on.
    """
    if settings.redis_url is None:
        raise WindlassError("REDIS_URL is not set")
    _allow_connections()
    redis = connect_redis(settings.redis_url)
    queue = SourceQueue(redis, queue_name=settings.queue)
    directory, feed = await documents_of(settings, redis, secrets_of_senders)
    documents = Documents()
    documents.use(directory.load())
    secrets = Secrets(feed.secrets if feed else None)
    app = make_app(documents, queue, secrets, redis, key=settings.secret_key(), body_limit=settings.body_limit)
    stop = stop or _stop_on_signals()
    try:
        figures = Figures(redis, settings.queue, documents)
        async with (
            listening(app, settings.host, settings.port) as port,
            exposed(settings.host, settings.metrics_port, refresh=figures.refresh),
        ):
            log.info("service.started", host=settings.host, port=port)
            follower = asyncio.create_task(documents.follow(directory, queue))
            waiter = asyncio.create_task(stop.wait())
            tasks = {follower, waiter, *([asyncio.create_task(feed.follow())] if feed else [])}
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        log.info("service.stopped")
    finally:
        if feed is not None:
            await feed.close()
        await redis.aclose()


def _allow_connections() -> None:
    """As many as the system lets us have: the usual 1,024 files are soon held by those who connect and say nothing."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _stop_on_signals() -> asyncio.Event:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
