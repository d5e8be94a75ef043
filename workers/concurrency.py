"""Doing several things at once, with the first real error raised as itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def together(count: int, work: Callable[[], Awaitable[None]]) -> None:
    """Run ``work`` ``count`` times at once; the first error cancels the others and is raised."""
    if count == 1:
        await work()
        return
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(_coroutine(work))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _coroutine(work: Callable[[], Awaitable[None]]) -> None:
    await work()
