"""What everything that comes in has in common: a body that is read within limits, opened (verified, then parsed), and answered.

What must hold: an unknown address is refused before a byte of its body is read; the body is let go of before Redis is waited for;
nothing is claimed that Redis doesn't have; every answer is logged, and no secret with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeVar

import orjson
import structlog
from aiohttp import web

from service.bodies import Bodies
from service.senders import Refused
from windlass import metrics, tracing

log = structlog.get_logger(__name__)

RETRY_AFTER = 5
"""Seconds after which a sender may send again what Redis could not take."""

Endpoint = TypeVar("Endpoint")
Delivery = TypeVar("Delivery")
Answer = tuple[int, dict[str, Any]]


class Receiver:
    """Reads for all handlers of a service, so that its limits hold for all of them together; knows what has begun."""

    def __init__(self, body_limit: int) -> None:
        self._bodies = Bodies(body_limit)
        self._begun = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def idle(self) -> None:
        """Wait until nothing is being answered."""
        await self._idle.wait()

    async def receive(
        self,
        request: web.Request,
        name: str,
        *,
        find: Callable[[], Endpoint],
        label: Callable[[Endpoint], str],
        unseal: Callable[[Endpoint, bytes], Delivery],
        handle: Callable[[Delivery, float], Awaitable[Answer]],
    ) -> web.Response:
        """Answer one request to the endpoint ``name``; ``find``, ``unseal`` and ``handle`` may raise `Refused`.

        ``label`` is what the metrics call such an endpoint; ``handle`` also gets the time of arrival.
        """
        self._begun += 1
        self._idle.clear()
        try:
            return await self._receive(request, name, find, label, unseal, handle)
        finally:
            self._begun -= 1
            if not self._begun:
                self._idle.set()

    async def _receive(
        self,
        request: web.Request,
        name: str,
        find: Callable[[], Endpoint],
        label: Callable[[Endpoint], str],
        unseal: Callable[[Endpoint, bytes], Delivery],
        handle: Callable[[Delivery, float], Awaitable[Answer]],
    ) -> web.Response:
        since, received_at = time.perf_counter(), time.time()
        kind = "none"
        try:
            endpoint = find()
            kind = label(endpoint)
            async with self._bodies.read(request) as body:
                delivery = unseal(endpoint, body)
                size = len(body)
            status, answer = await handle(delivery, received_at)
        except Refused as refusal:
            log.warning("delivery.refused", endpoint=name[:100], status=refusal.status, reason=refusal.reason)
            metrics.WEBHOOKS.labels(kind, _refused(refusal.status)).inc()
            return _refusal(refusal)
        seconds = time.perf_counter() - since
        metrics.WEBHOOKS.labels(kind, _result(status, answer)).inc()
        metrics.WEBHOOK_SECONDS.observe(seconds)
        tracing.received(str(answer["event"]), received_at, endpoint=name, status=status)
        milliseconds = round(seconds * 1000, 2)
        log.info(
            "delivery.received", endpoint=name, status=status, bytes=size, milliseconds=milliseconds, **_logged(answer)
        )
        return _json(status, answer)


def redis_is_away(event: str, error: Exception) -> NoReturn:
    """:raises Refused: the sender is told to come back."""
    log.error("redis.unreachable", event_id=event, error=type(error).__name__)
    raise Refused(503, "Redis is away: nothing was queued", retry_after=RETRY_AFTER) from None


def _result(status: int, answer: dict[str, Any]) -> str:
    return "ignored" if "ignored" in answer else "queued" if status == 202 else "applied"


def _refused(status: int) -> str:
    return {401: "unsigned", 404: "unknown", 503: "unavailable"}.get(status, "invalid")


def _logged(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer as fields of a log line, whose own `event` is its name."""
    return {"event_id": answer["event"], **{name: value for name, value in answer.items() if name != "event"}}


def _json(status: int, answer: dict[str, Any]) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(answer), content_type="application/json")


def _refusal(refusal: Refused) -> web.Response:
    """An error's answer; the connection ends with it where the body was not read."""
    response = _json(refusal.status, {"error": refusal.reason})
    if refusal.retry_after is not None:
        response.headers["Retry-After"] = str(refusal.retry_after)
    if refusal.status in (408, 413, 415):
        response.force_close()
    return response
