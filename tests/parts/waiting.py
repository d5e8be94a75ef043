"""Waiting for what must come true, generously: the machine may be busy with everything else."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(holds: Callable[[], object], *, seconds: float = 60, show: Callable[[], str] = lambda: "") -> None:
    """Wait until ``holds`` is true.

    :raises AssertionError: it isn't within ``seconds``; ``show`` says more.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"it did not come true within {seconds:g} s\n{show()}")
        time.sleep(0.03)
