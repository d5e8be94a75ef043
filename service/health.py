"""``/healthz``: this process answers. ``/readyz``: it can also take deliveries, having documents and Redis."""

from __future__ import annotations

import asyncio

import orjson
from aiohttp import web
from redis.asyncio import Redis
from redis.exceptions import RedisError

from service.follow import Documents

PING_SECONDS = 1.0


class Health:
    """The two handlers."""

    def __init__(self, documents: Documents, redis: Redis) -> None:
        self._documents, self._redis = documents, redis

    async def healthz(self, request: web.Request) -> web.Response:
        return _answer(200, {"status": "ok"})

    async def readyz(self, request: web.Request) -> web.Response:
        checks = {"documents": self._documents.loaded, "redis": await self._pings()}
        ready = all(checks.values())
        return _answer(200 if ready else 503, {"status": "ready" if ready else "not ready", **checks})

    async def _pings(self) -> bool:
        try:
            async with asyncio.timeout(PING_SECONDS):
                await self._redis.ping()
        except (RedisError, OSError):
            return False
        return True


def _answer(status: int, body: dict[str, str | bool]) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")
