"""`/metrics` and `/healthz`, on a port of their own: for those who watch a process, not for those who use it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from windlass.errors import WindlassError
from windlass.listening import listener
from windlass.metrics import REGISTRY

log = structlog.get_logger(__name__)

Refresh = Callable[[], Awaitable[None]]
"""Called before each scrape: brings up to date what is not counted as it happens."""


async def _nothing() -> None:
    return


@asynccontextmanager
async def exposed(host: str, port: int | None, *, refresh: Refresh = _nothing) -> AsyncIterator[None]:
    """Answer scrapes and probes for as long as the block lasts; not at all if there is no port.

    :raises WindlassError: the address can't be had.
    """
    if port is None:
        yield
        return
    one_at_a_time = asyncio.Lock()

    async def metrics(_: web.Request) -> web.Response:
        async with one_at_a_time:
            await refresh()
            return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application(client_max_size=0)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", healthz)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            bound = listener(host, port)
        except WindlassError as error:
            raise WindlassError(f"metrics: {error}") from None
        await web.SockSite(runner, bound).start()
        log.info("metrics.exposed", host=host, port=runner.addresses[0][1])
        yield
    finally:
        await runner.cleanup()
