"""What runs beside the jobs, or instead of them: kept running, whatever fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import structlog

log = structlog.get_logger(__name__)

Service = Callable[[], Coroutine[Any, Any, None]]

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a service that failed begins again."""
CANCEL_SECONDS = 1.0


async def kept_running(service: Service) -> None:
    """A service that fails is said to, and begins again: one bad entry somewhere must not end the worker, nor be silent."""
    pause = FIRST_PAUSE
    while True:
        started = time.monotonic()
        try:
            await service()
        except Exception as error:
            log.error("service.failed", service=getattr(service, "__qualname__", repr(service)), exc_info=error)
        else:
            return
        pause = FIRST_PAUSE if time.monotonic() - started > LONGEST_PAUSE else min(pause * 2, LONGEST_PAUSE)
        await asyncio.sleep(pause)


async def stop(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel ``tasks`` and wait for their ends. More than once: whose own time-out comes at the same moment may lose it."""
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=CANCEL_SECONDS)
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                log.warning("service.ended", error=repr(error))
        if pending:
            log.warning("service.lingers", tasks=[task.get_name() for task in pending])
