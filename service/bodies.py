"""Reads request bodies without trusting them: streamed, bounded one by one and all together, never decompressed.

What must hold: memory does not depend on how many clients send how much (CVE-2024-40634). The first `SMALL` bytes of a body
are read in any case; what is larger, or doesn't say, has then shown that it is being sent, and waits for room, held back
by TCP. Bodies of a declared moderate size have room of their own, so that an endless one can't hold up a push.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from service.senders import Crowd, Refused, Room, Sender

SMALL = 32 * 1024
"""Bytes of a body that are read without asking; the usual push has 5,000 to 20,000."""
MODERATE = 256 * 1024
"""Bytes of a declared body that need not wait for one that is larger, or endless."""
PIECE = 4 * 1024
"""Bytes read at once before there is room for more."""
READERS = 512
"""Bodies that may be on their way in at once."""


class Bodies:
    """Reads the bodies of one service; ``limit`` is the largest that is read, and what the large ones, and the moderate
    ones, may hold together."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._crowd = Crowd(READERS)
        self._moderate, self._large = Room(limit), Room(limit)

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
        content = request.content
        if content.is_eof() and content.exception() is None:
            yield self._bounded(content.read_nowait())  # the usual push came in one piece with its headers
            return
        claim = self._limit if declared is None else declared
        room = self._moderate if claim <= MODERATE and declared is not None else self._large
        sender = Sender(request.remote)
        try:
            yield await self._receive(request, sender, room, claim)
        finally:
            room.give_back(sender)

    async def _receive(self, request: web.Request, sender: Sender, room: Room, claim: int) -> bytes:
        self._crowd.enter(sender)
        try:
            async with sender:
                return await self._collect(request, sender, room, claim)
        except (web.RequestPayloadError, HttpProcessingError, ConnectionError):
            raise Refused(400, "the body is not well-formed HTTP") from None
        finally:
            self._crowd.leave(sender)

    async def _collect(self, request: web.Request, sender: Sender, room: Room, claim: int) -> bytes:
        body, asked = bytearray(), claim <= SMALL
        content = request.content
        while chunk := await (content.readany() if asked else content.read(PIECE)):
            body += chunk
            if len(body) > self._limit:
                raise self._too_large()
            sender.heard(len(chunk))
            if (
                not asked and content.total_bytes >= SMALL
            ):  # what came, read or not: what isn't read holds the sender back
                await room.take(sender, claim)
                asked = True
        return bytes(body)

    def _bounded(self, body: bytes) -> bytes:
        if len(body) > self._limit:
            raise self._too_large()
        return body

    def _too_large(self) -> Refused:
        return Refused(413, f"the body is larger than {self._limit} bytes")
