"""Who may use a store's objects while gc rewrites them: any number of fetches, or one gc; across threads and
processes."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

LOCK = "windlass.lock"
_PAUSE, _LONGEST_PAUSE = 0.002, 0.05


@asynccontextmanager
async def store_lock(directory: Path, *, exclusive: bool) -> AsyncIterator[None]:
    """Hold the store's lock: shared for a fetch, exclusive for gc. The kernel drops it when the process dies."""
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        wanted = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        pause = _PAUSE
        while not _try_lock(descriptor, wanted):
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, wanted: int) -> bool:
    try:
        fcntl.flock(descriptor, wanted | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
