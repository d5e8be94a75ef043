"""What several commands need: settings, a connection to the queue, and tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from windlass.documents.catalog import Catalog
    from windlass.queue import SourceQueue
    from windlass.settings import Settings


def load_settings() -> Settings:
    """The settings of this process' environment."""
    import os

    from windlass.settings import Settings

    return Settings.from_env(os.environ)


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[tuple[Redis, SourceQueue, Catalog]]:
    """Redis, the queue and the documents, for a command that looks or asks."""
    from redis.asyncio import Redis

    from windlass.documents.directory import DocumentDirectory
    from windlass.queue import SourceQueue

    if settings.redis_url is None:
        raise click.UsageError("REDIS_URL is not set: which Redis do service and worker use?")
    redis = Redis.from_url(settings.redis_url)
    try:
        yield redis, SourceQueue(redis, queue_name=settings.queue), DocumentDirectory(settings.documents).load()
    finally:
        await redis.aclose()


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    )
