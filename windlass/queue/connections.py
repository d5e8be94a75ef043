"""Clients of Redis: the one place where they are made, of one server or of the master that Sentinels name.

What must hold: after a fail-over the next command asks the Sentinels again; a master that became a replica is not written to. A
fail-over may lose what Redis had not yet replicated: Redis' run id changes, so every source's tip is read (`workers.sweep`).
"""

from __future__ import annotations

from typing import Any

from redis import Redis
from redis import sentinel as blocking
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio import connection as async_connection
from redis.asyncio import sentinel as asynchronous
from redis.asyncio.retry import Retry
from redis.connection import parse_url

from windlass.redis_address import Sentinels, sentinels

SENTINEL_SECONDS = 1.0
"""For a Sentinel to answer, before the next one is asked."""


def connect(url: str, *, seconds: float | None = None, connect_seconds: float) -> Redis:
    """A client for threads.

    :param seconds: for an answer; None: as long as it takes.
    :raises AddressError: ``url`` is no address.
    """
    found = sentinels(url)
    timeouts = {"socket_timeout": seconds, "socket_connect_timeout": connect_seconds}
    if found is None:
        return Redis.from_url(url, **timeouts)
    server, tls = _server(parse_url(found.server))  # type: ignore[no-untyped-call]
    asked = blocking.Sentinel(found.nodes, sentinel_kwargs=_asking(found, server, tls))  # type: ignore[no-untyped-call]
    client: Redis = asked.master_for(found.master, ssl=tls, **timeouts, **server)  # type: ignore[no-untyped-call]
    return client


def connect_async(
    url: str,
    *,
    seconds: float | None = None,
    connect_seconds: float,
    connections: int = 50,
    wait: float | None = 20.0,
    retry: Retry | None = None,
) -> AsyncRedis:
    """A client for asyncio, of at most so many connections.

    :param wait: seconds for one of them to be free; None: as long as it takes.
    :raises AddressError: ``url`` is no address.
    """
    found = sentinels(url)
    options: dict[str, Any] = {"socket_timeout": seconds, "socket_connect_timeout": connect_seconds}
    options |= {"max_connections": connections, "timeout": wait}
    if retry is not None:
        options["retry"] = retry
    if found is None:
        return AsyncRedis.from_pool(BlockingConnectionPool.from_url(url, **options))
    server, tls = _server(async_connection.parse_url(found.server))
    asked = asynchronous.Sentinel(found.nodes, sentinel_kwargs=_asking(found, server, tls))  # type: ignore[no-untyped-call]
    return AsyncRedis.from_pool(_SentinelPool(found.master, asked, ssl=tls, **options, **server))  # type: ignore[no-untyped-call]


class _SentinelPool(asynchronous.SentinelConnectionPool, BlockingConnectionPool):
    """Connections to the master of the moment, a limited number; who finds none waits for one."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        if inuse_connections:  # the end of the client, not a fail-over
            for sentinel in self.sentinel_manager.sentinels:
                await sentinel.aclose()


def _server(parsed: Any) -> tuple[dict[str, Any], bool]:
    """A server's options, and is it spoken to over TLS?"""
    options = {key: value for key, value in parsed.items() if key not in ("host", "port", "connection_class")}
    return options, "connection_class" in parsed


def _asking(found: Sentinels, server: dict[str, Any], tls: bool) -> dict[str, Any]:
    """How Sentinels are asked: with a login of their own, and the servers' TLS."""
    options: dict[str, Any] = {key: value for key, value in server.items() if key.startswith("ssl_")}
    options |= {"username": found.username, "password": found.password}
    options |= {"socket_timeout": SENTINEL_SECONDS, "socket_connect_timeout": SENTINEL_SECONDS}
    return options | {"ssl": True} if tls else options
