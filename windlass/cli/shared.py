"""What several commands need: settings, a connection to the queue, and tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from windlass.cli import announced
from windlass.errors import WindlassError

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from windlass.documents.catalog import Catalog
    from windlass.documents.types import Application
    from windlass.queue import SourceQueue
    from windlass.settings import Settings


REDIS_SECONDS = 5.0
"""For Redis to answer a command."""
SHOWN = 5
"""Errors of documents that another error repeats."""


def load_settings() -> Settings:
    """The settings of this process' environment."""
    import os

    from windlass.settings import Settings

    return Settings.from_env(os.environ)


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[tuple[Redis, SourceQueue, Catalog]]:
    """Redis, the queue and the documents, for a command that looks or asks.

    :raises WindlassError: there is no Redis, or it doesn't answer; also while the block runs.
    """
    from redis.exceptions import RedisError

    from windlass.feed import documents_of, no_secrets
    from windlass.queue import SourceQueue
    from windlass.queue.connections import connect_async

    url = redis_url(settings)
    redis = connect_async(url, seconds=REDIS_SECONDS, connect_seconds=REDIS_SECONDS)
    try:
        await redis.ping()
        directory, _ = await documents_of(settings, redis, no_secrets)
        yield redis, SourceQueue(redis, queue_name=settings.queue), directory.load()
    except RedisError as error:
        told = "" if settings.redis_url else f" (by {announced.file(settings)}, of a `windlass up`)"
        raise WindlassError(no_answer(url, error) + told) from None
    finally:
        await redis.aclose()


def redis_url(settings: Settings) -> str:
    """Where Redis is: as REDIS_URL says, else where a running `windlass up` has it.

    :raises WindlassError: neither says it.
    """
    url = settings.redis_url or announced.read(settings)
    if url is None:
        raise WindlassError(
            f"REDIS_URL is not set, and no `windlass up` has said where its own Redis is (in {announced.file(settings)})"
        )
    return url


def application_of(catalog: Catalog, settings: Settings, name: str) -> Application:
    """The valid document of an application.

    :raises WindlassError: there is none; with what is wrong with the documents, since that may be why.
    """
    document = catalog.applications.get(name)
    if document is None:
        raise WindlassError(no_application(catalog, settings, name))
    return document


def no_application(catalog: Catalog, settings: Settings, name: str) -> str:
    """Why there may be no such application."""
    wrong = "".join(f"\n  {error}" for error in catalog.errors[:SHOWN])
    return f"no valid document of an application {name} in {settings.documents}" + (f", where{wrong}" if wrong else "")


def no_answer(url: str, error: Exception) -> str:
    """Redis at ``url`` can't be used; without the user, the password and the options."""
    place = url.partition("://")[2].rpartition("@")[2].partition("?")[0]
    return f"no answer from the Redis at {place}: {error}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    )
