"""The connections to one API server: warm ones for requests, others for watches, which would hold for good what writes need."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import aiohttp

KEEPALIVE_SECONDS = 75.0
"""The API server closes idle connections after 90 s; leave first, or a request races its FIN."""
KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 3, "TCP_KEEPCNT": 3}
"""How the kernel asks whether the other side of a silent watch is there still: a cut is known after some 14 s."""


class Pool:
    """The connections, which all views of a client share; the sessions start with the first request, in its loop."""

    def __init__(self, context: ssl.SSLContext | None, connections: int) -> None:
        self._context, self._connections = context, connections
        self._session: aiohttp.ClientSession | None = None
        self._watching: aiohttp.ClientSession | None = None

    def connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(
            limit=self._connections, keepalive_timeout=KEEPALIVE_SECONDS, ssl=self._context or True
        )

    def watching(self) -> aiohttp.ClientSession:
        """For watches."""
        if self._watching is None:
            self._watching = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._context or True, socket_factory=_kept_alive),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                headers={"User-Agent": "windlass", "Accept-Encoding": "identity"},
            )
        return self._watching

    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self.connector(),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,  # looking up netrc and proxies costs 0.3 ms a request
                # Identity: in one data centre, compressing a list costs the server more than sending it does.
                headers={"User-Agent": "windlass", "Accept-Encoding": "identity"},
            )
        return self._session

    async def close(self) -> None:
        sessions, self._session, self._watching = (self._session, self._watching), None, None
        for session in filter(None, sessions):
            await session.close()


def _kept_alive(address: tuple[Any, ...]) -> socket.socket:
    """A socket on which the kernel finds out that nobody is there any more, while nobody says anything."""
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made
