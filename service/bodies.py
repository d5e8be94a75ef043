"""Reads request bodies without trusting them: streamed, bounded one by one and all together, never decompressed.

What must hold: memory does not depend on how many clients send how much (CVE-2024-40634). Small bodies are read at
once; one that is larger, or doesn't say, first reserves what it may grow to from a fixed budget, and waits, its sender
held back by TCP, while there is none. Who holds the budget must keep sending.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError

SMALL = 32 * 1024
"""Bytes of a declared body that are read without asking; the usual push has 5,000 to 20,000."""
TURN_SECONDS = 30.0
"""For a large body's turn to come. Forges give up after 10 s and send again."""
PATIENCE_SECONDS = 5.0
SLOWEST = 512 * 1024
"""Bytes a second: a sender has `PATIENCE_SECONDS`, and a second more for each of these that came."""
READERS = 512
"""Bodies that may be on their way in at once; more are told to come back."""


class Refused(Exception):  # noqa: N818  (it is the answer, and not always an error of ours)
    """The request is answered with ``status`` and its body is not read any further."""

    def __init__(self, status: int, reason: str, *, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.retry_after = status, reason, retry_after


class Budget:
    """Bytes that may be held at once; whoever asks first is served first."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def reserve(self, size: int) -> None:
        """Wait until ``size`` bytes are free, and take them."""
        if not self._waiting and size <= self._free:
            self._free -= size
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, granted))
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.release(size)
            raise

    def release(self, size: int) -> None:
        self._free += size
        while self._waiting:
            wanted, granted = self._waiting[0]
            if not granted.done() and wanted > self._free:
                return
            self._waiting.popleft()
            if not granted.done():
                self._free -= wanted
                granted.set_result(None)


class Reservation:
    """What one body holds of the budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget, self._size = budget, 0

    async def take(self, size: int) -> None:
        """Wait for ``size`` bytes.

        :raises Refused: there were none in time.
        """
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._budget.reserve(size)
        except TimeoutError:
            raise Refused(503, "too many large deliveries at once", retry_after=5) from None
        self._size = size

    def end(self) -> None:
        if self._size:
            self._budget.release(self._size)
            self._size = 0


class Bodies:
    """Reads the bodies of one service; ``limit`` is the largest that is read, and what all large ones may hold together."""

    def __init__(self, limit: int) -> None:
        self._limit, self._readers = limit, 0
        self._budget = Budget(limit)

    @asynccontextmanager
    async def read(self, request: web.Request) -> AsyncIterator[bytes]:
        """The whole body, for as long as the block lasts.

        :raises Refused: it is too large, too slow, compressed or broken, or too many others are being read.
        """
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Refused(415, "compressed bodies are not accepted")
        declared = request.content_length
        if declared is not None and declared > self._limit:
            raise self._too_large()
        if self._readers >= READERS:
            raise Refused(503, "too many deliveries at once", retry_after=1)
        self._readers += 1
        reservation = Reservation(self._budget)
        try:
            yield await self._receive(request, declared, reservation)
        finally:
            self._readers -= 1
            reservation.end()

    async def _receive(self, request: web.Request, declared: int | None, reservation: Reservation) -> bytes:
        content = request.content
        if content.is_eof() and content.exception() is None:
            return self._small(content.read_nowait())  # the usual push came in one piece with its headers
        if declared is None or declared > SMALL:
            await reservation.take(self._limit if declared is None else declared)
        try:
            return await self._collect(content)
        except TimeoutError:
            raise Refused(408, f"the body comes at less than {SLOWEST >> 10} KiB a second") from None
        except (web.RequestPayloadError, HttpProcessingError, ConnectionError):
            raise Refused(400, "the body is not well-formed HTTP") from None

    async def _collect(self, content: StreamReader) -> bytes:
        body, since = bytearray(), asyncio.get_running_loop().time()
        async with asyncio.timeout_at(since + PATIENCE_SECONDS) as deadline:
            while chunk := await content.readany():
                body += chunk
                if len(body) > self._limit:
                    raise self._too_large()
                deadline.reschedule(since + PATIENCE_SECONDS + len(body) / SLOWEST)
        return bytes(body)

    def _small(self, body: bytes) -> bytes:
        if len(body) > self._limit:
            raise self._too_large()
        return body

    def _too_large(self) -> Refused:
        return Refused(413, f"the body is larger than {self._limit} bytes")
