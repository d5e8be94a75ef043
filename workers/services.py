"""What runs beside the jobs, or instead of them: kept running, whatever fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

log = structlog.get_logger(__name__)

Service = Callable[[], Coroutine[Any, Any, None]]

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a service that failed begins again."""


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
