"""Whether an API server answers at all: known once for everybody, so that a dead one costs nobody its time-out again.

What must hold: only a server that answered nothing, a question of our own included, is taken for away (an object whose
admission webhook hangs is that object's trouble); while it is away every request fails at once; nobody who works waits
for the looks that find it back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from workers.kube.errors import UnreachableError

log = structlog.get_logger(__name__)

SUSPICIOUS_SECONDS = 3.0
"""A request without an answer for so long has the server asked whether it is there."""
FIRST_LOOK, LONGEST_LOOK = 0.5, 5.0
"""Seconds between two looks at a server that is away."""


class Circuit:
    """Closed (requests pass) until the server is away; closed again by the first answer of any kind."""

    def __init__(
        self, server: str, answers: Callable[[], Awaitable[bool]], anew: Callable[[], Awaitable[None]]
    ) -> None:
        """``answers`` asks the server, by a connection of its own; ``anew`` lets go of connections from before it left."""
        self._server, self._answers, self._anew = server, answers, anew
        self._away = ""
        self._waiting: set[asyncio.Timeout] = set()
        self._looking: asyncio.Task[None] | None = None

    def check(self) -> None:
        """Is there any point in asking?

        :raises UnreachableError: no, the server is away.
        """
        if self._away:
            raise UnreachableError(f"the API server can't be reached: {self._away}")

    @asynccontextmanager
    async def owing(self) -> AsyncIterator[None]:
        """Around a request, for as long as the server owes us an answer.

        :raises UnreachableError: the server is away, or found to be meanwhile.
        :raises TimeoutError: the request's own, of a server that is there.
        """
        self.check()
        overdue = asyncio.get_running_loop().call_later(SUSPICIOUS_SECONDS, self.suspect)
        limit = asyncio.timeout(None)
        self._waiting.add(limit)
        try:
            async with limit:
                yield
        except TimeoutError:
            if limit.expired():
                self.check()
            self.suspect()
            raise
        finally:
            self._waiting.discard(limit)
            overdue.cancel()

    def suspect(self) -> None:
        """The server owes us an answer: look whether it is there."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())

    def failed(self, reason: str) -> None:
        """There is no connection to it."""
        self._away = self._away or reason
        self.suspect()

    async def close(self) -> None:
        """Look no more."""
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            await asyncio.wait((looking,))

    async def _look(self) -> None:
        wait = FIRST_LOOK
        while not await self._answers():
            if wait == FIRST_LOOK:
                self._away = self._away or "it does not answer"
                log.warning("cluster.away", server=self._server, reason=self._away)
            self._give_up()
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_LOOK)
        if wait > FIRST_LOOK:  # so nobody is using them: all were given up
            await self._anew()
            log.info("cluster.answers", server=self._server)
        self._away = ""

    def _give_up(self) -> None:
        """No request waits on for a server that is away."""
        for limit in self._waiting:
            if not limit.expired():
                limit.reschedule(asyncio.get_running_loop().time())
