"""Something slow that may hang (a plugin, a handshake): tried once at a time, for all who want its result.

What must hold: whoever waits, waits no longer than its patience counted from when the try began, so that a hundred who
want it one after the other lose no more time than one; what failed is not tried again at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from windlass.errors import TransientError

T = TypeVar("T")

PAUSE_SECONDS = 2.0
"""For so long after a failure, its error is the answer."""


class Attempt(Generic[T]):
    """The result of ``make``, kept once there is one."""

    def __init__(self, what: str, make: Callable[[], Awaitable[T]], *, patience: float) -> None:
        """``what`` begins the error of who waited for ``patience`` seconds."""
        self._what, self._make, self._patience = what, make, patience
        self._task: asyncio.Task[T] | None = None
        self._began = self._ended = 0.0

    async def result(self) -> T:
        """The result, or the error of a try that ended at most `PAUSE_SECONDS` ago.

        :raises TransientError: it takes longer than the patience; the try goes on.
        """
        task = self._current()
        left = self._began + self._patience - time.monotonic()
        await asyncio.wait((task,), timeout=max(left, 0.0))
        if not task.done():
            raise TransientError(f"{self._what}: no answer within {self._patience:g} s")
        return task.result()

    def found(self) -> T | None:
        """The result if there is one."""
        task = self._task
        return task.result() if task is not None and _succeeded(task) else None

    async def cancel(self) -> None:
        """End a try that goes on."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait((self._task,))

    def _current(self) -> asyncio.Task[T]:
        task, now = self._task, time.monotonic()
        if task is None or (task.done() and not _succeeded(task) and now - self._ended >= PAUSE_SECONDS):
            self._task = task = asyncio.create_task(self._tried())
            self._began = now
            task.add_done_callback(self._note_end)
        return task

    async def _tried(self) -> T:
        return await self._make()

    def _note_end(self, task: asyncio.Task[T]) -> None:
        self._ended = time.monotonic()
        _succeeded(task)  # looks at the error: it is not lost if nobody asks again


def _succeeded(task: asyncio.Task[T]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None
