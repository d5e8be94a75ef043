"""How many requests at once: as many as the API server takes without queueing, found by additive increase and
multiplicative decrease (AIMD), the way TCP finds a link's capacity.

Too few leave the server idle; too many only queue there (100 at once: seven times the latency of 16, no more objects a
second) and starve everybody else of its clients. 429 is the server's own word; latency well beyond the best seen is
its sign.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from types import TracebackType

START = 16
"""Where the search begins: two cores are saturated by 16 to 32 applies at once."""
FEWEST = 2
SLOW_SECONDS = 1.0
"""Answers quicker than this are never taken for a sign of queueing."""
SLOW_FACTOR = 5.0
"""...nor those less than this many times the best one: a slow admission webhook is no queue."""
BACKED_OFF_SECONDS = 1.0
"""One decrease in this time: all answers of one overload say the same thing."""
FORGETTING = 1.005
"""The best latency is forgotten by this factor an answer, so that a server that became slower for good is not held
against it."""


class AdaptiveLimiter:
    """``async with limiter:`` holds one of ``limit`` places, first come first served; `limit` never exceeds
    ``maximum``."""

    def __init__(self, maximum: int) -> None:
        self.maximum = max(1, maximum)
        self.limit = float(min(START, self.maximum))
        self.running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._best = float("inf")
        self._backed_off = 0.0
        self._searching = True

    async def __aenter__(self) -> None:
        if self.running < int(self.limit) and not self._waiting:
            self.running += 1
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._leave()  # the place was given in the same instant: pass it on
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    def answered(self, seconds: float) -> None:
        """A write was answered after ``seconds``."""
        self._best = min(self._best * FORGETTING, seconds)
        if seconds > SLOW_SECONDS and seconds > SLOW_FACTOR * self._best:
            self._decrease(0.8)
        elif self.limit < self.maximum and self.running >= int(self.limit):
            # One more for each answer until the first sign of queueing, from then on one more for each round of
            # answers.
            self.limit = min(self.maximum, self.limit + (1.0 if self._searching else 1.0 / self.limit))
            self._admit()

    def throttled(self) -> None:
        """The server said 429: half as many at once."""
        self._decrease(0.5)

    def _decrease(self, factor: float) -> None:
        now = time.monotonic()
        self._searching = False
        if now - self._backed_off >= BACKED_OFF_SECONDS:
            self._backed_off = now
            self.limit = max(min(FEWEST, self.maximum), self.limit * factor)

    def _leave(self) -> None:
        self.running -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self.running < int(self.limit):
            place = self._waiting.popleft()
            if not place.done():
                self.running += 1
                place.set_result(None)
