"""Which commit to believe. The tip decides; a pushed commit is only a hint, and a replica may show us the past.

What must hold: never an older commit over a newer one, whatever the order of deliveries, retries and workers, unless a
verified push names the older one, or it has been the tip for ``PATIENCE`` seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from windlass.errors import PermanentError, SupersededError
from windlass.queue import Hint

log = structlog.get_logger(__name__)

LAG_LIMIT = 60.0
"""Seconds after a push during which a tip without it is taken for a replica that lags."""
PATIENCE = 30.0
"""Seconds for which an older commit must stay the tip to be believed although no push named it."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0


class History(Protocol):
    """What this module needs of a repository and of what is followed in it; see `workers.following`."""

    @property
    def ref(self) -> str: ...
    async def tip(self) -> str | None: ...
    def shows(self, commit: str) -> bool: ...
    def has(self, commit: str) -> bool: ...
    def is_ancestor(self, ancestor: str, descendant: str) -> bool: ...


class SourceMissingError(PermanentError):
    """The ref does not exist (any more). Nothing is pruned for it."""


def lags(history: History, tip: str, processed: str, hints: Sequence[Hint], now: float) -> bool:
    """Is ``tip`` the past, as far as the pushes that we verified tell? True while the newest push is not to be seen yet."""
    if not hints:
        return False
    newest = max(hints, key=lambda hint: hint.received_at)
    if history.shows(newest.commit) or now - newest.received_at > LAG_LIMIT:
        return False
    if history.has(newest.commit):
        return history.has(tip) and history.is_ancestor(tip, newest.commit)
    return tip in (processed, newest.before)


def doubtful(history: History, tip: str, processed: str, hints: Sequence[Hint]) -> bool:
    """An ancestor of what is applied, that no verified push has named: a stale replica, or a rewind nobody told us of."""
    if not processed or tip == processed or any(hint.commit == tip for hint in hints):
        return False
    return history.has(tip) and history.has(processed) and history.is_ancestor(tip, processed)


async def believed_tip(
    history: History,
    *,
    processed: str,
    hints: Sequence[Hint],
    superseded: Callable[[], Awaitable[bool]],
) -> str:
    """The commit to make true now. Waits where the tip shown is the past.

    :raises SourceMissingError: the ref does not exist. :raises SupersededError: a newer push came while this one waited.
    """
    pause, doubted_since, doubted = FIRST_PAUSE, 0.0, ""
    while True:
        tip = await history.tip()
        if tip is None:
            raise SourceMissingError(f"{history.ref} does not exist in the repository")
        if lags(history, tip, processed, hints, time.time()):
            log.info("tip.lags", ref=history.ref, tip=tip)
        elif doubtful(history, tip, processed, hints):
            if tip != doubted:
                doubted, doubted_since = tip, time.monotonic()
                log.warning("tip.doubted", ref=history.ref, tip=tip, applied=processed)
            if time.monotonic() - doubted_since >= PATIENCE:
                return tip
        else:
            return tip
        await asyncio.sleep(pause)
        if await superseded():
            raise SupersededError("a newer push came while the tip lagged")
        pause = min(pause * 2, LONGEST_PAUSE)
