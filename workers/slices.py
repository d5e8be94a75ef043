"""Long work in slices: 10,000 objects must not hold the event loop, on which leases, pushes and other clusters wait.

Work that is pure says with a bare ``yield`` where it may be interrupted, and stays as it is otherwise: deterministic, and
free of asyncio.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Generator, Iterable
from typing import TypeVar

SLICE_SECONDS = 0.008
"""How long the loop may be held before others get their turn."""

T = TypeVar("T")


async def sliced(items: Iterable[T]) -> AsyncIterator[T]:
    """``items``, one by one; what is done with each counts for the slice."""
    slice_end = time.monotonic() + SLICE_SECONDS
    for item in items:
        yield item
        if time.monotonic() >= slice_end:
            await asyncio.sleep(0)
            slice_end = time.monotonic() + SLICE_SECONDS


async def in_slices(work: Generator[None, None, T]) -> T:
    """What ``work`` returns; others get their turn at its yields."""
    slice_end = time.monotonic() + SLICE_SECONDS
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        if time.monotonic() >= slice_end:
            await asyncio.sleep(0)
            slice_end = time.monotonic() + SLICE_SECONDS
