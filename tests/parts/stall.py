"""How long a piece of work holds the event loop: in CPU time of the loop's thread, so that a busy machine changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator

LONGEST = 0.05
"""Seconds for which nothing may hold the loop."""


class Stall:
    """``seconds`` is the longest time between two turns of the loop."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def watch(self) -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.0005)
            self.seconds = max(self.seconds, time.thread_time() - before)


@contextlib.asynccontextmanager
async def stall() -> AsyncIterator[Stall]:
    """Watch the loop. What a whole test run left behind is not looked at by the collector meanwhile."""
    found = Stall()
    gc.collect()
    gc.freeze()
    task = asyncio.create_task(found.watch())
    try:
        await asyncio.sleep(0)
        yield found
        await asyncio.sleep(0.002)
    finally:
        task.cancel()
        gc.unfreeze()
