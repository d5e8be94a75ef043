"""What a job is about, as the documents have it: those of the worker may be older than those by which the job was queued."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

import structlog

from windlass.documents.catalog import Catalog
from workers.context import Context

log = structlog.get_logger(__name__)
PATIENCE, PAUSE = 120.0, 1.0
"""Seconds for which service and worker may read different documents, while a change spreads; and between two looks."""


class _Versioned(Protocol):
    @property
    def digest(self) -> str: ...


View = TypeVar("View", bound=_Versioned)


async def view_of(
    context: Context, views: Callable[[Catalog], Mapping[str, View]], source: str, digest: str
) -> View | None:
    """One of ``views``; None if there is none. Waits while this worker's documents are older than those of the job (``digest``):
    neither these, nor those by which its source was queued since, nor what came here after these.

    :raises RedisError: it is away.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        view = views(context.catalog).get(source)
        newer = view is not None and (view.digest == digest or context.is_former(digest))
        if view is not None and (newer or view.digest == await context.queue.digest(source)):
            return view
        if not context.reload() and time.monotonic() < deadline and digest:
            log.warning("documents.differ", job=digest, worker=view.digest if view else None)
            await asyncio.sleep(PAUSE)
        elif time.monotonic() >= deadline or not digest:
            return view
