"""``POST /webhooks/{name}``: verify, parse, mark, answer. Nothing slow happens here, and nothing is claimed that
Redis doesn't have.

404 no such endpoint (or no secret) · 413, 415, 408 a body that isn't read · 401 not signed by a secret of the
endpoint · 400 verified, but not of the documented shape · 200 nothing to do, and why · 202 queued in Redis · 503
Redis is away, come back.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import orjson
import structlog
from aiohttp import web
from redis.exceptions import RedisError

from service.bodies import Bodies
from service.endpoints import Endpoint, Group, Resolver, Wanted, wanted
from service.follow import Documents
from service.senders import Refused
from windlass import metrics
from windlass.events import Event, Ignored, PushEvent
from windlass.forges import PayloadError
from windlass.queue import Mark, Marked

log = structlog.get_logger(__name__)

RETRY_AFTER = 5
"""Seconds after which a forge may send again what Redis could not take."""


class Queue(Protocol):
    """What intake needs of `windlass.queue.SourceQueue`."""

    async def mark(self, marks: Sequence[Mark], *, event: str, delivery: str, received_at: float) -> list[Marked]: ...


class Delivery(NamedTuple):
    """A verified delivery. ``identity`` is of its signed bytes: the delivery header is not signed, and could be
    forged."""

    event: Event
    groups: list[Group]
    identity: str

    @property
    def id(self) -> str:
        """What answers, logs, jobs and state call this event: the forge's own id where it has a sane one."""
        return self.event.delivery or uuid.uuid4().hex


class Webhooks:
    """The handler, with what it needs."""

    def __init__(self, documents: Documents, queue: Queue, secrets: Resolver, *, body_limit: int) -> None:
        self._documents, self._queue, self._secrets = documents, queue, secrets
        self._bodies = Bodies(body_limit)
        self._begun = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def idle(self) -> None:
        """Wait until no delivery is being answered."""
        await self._idle.wait()

    async def receive(self, request: web.Request) -> web.Response:
        """Answer one delivery."""
        self._begun += 1
        self._idle.clear()
        try:
            return await self._receive(request)
        finally:
            self._begun -= 1
            if not self._begun:
                self._idle.set()

    async def _receive(self, request: web.Request) -> web.Response:
        name, since, received_at = request.match_info["name"], time.perf_counter(), time.time()
        endpoint = self._documents.endpoints.get(name)
        try:
            if endpoint is None:
                raise Refused(404, "no such endpoint: no repository with a webhook secret has this name")
            async with self._bodies.read(request) as body:
                delivery = self._open(name, endpoint, request, body)
                size = len(body)
            status, answer = await self._handle(delivery, received_at)
        except Refused as refusal:
            log.warning("delivery.refused", endpoint=name[:100], status=refusal.status, reason=refusal.reason)
            metrics.WEBHOOKS.labels("none" if endpoint is None else endpoint.forge_name, _refused(refusal.status)).inc()
            return _refusal(refusal)
        seconds = time.perf_counter() - since
        metrics.WEBHOOKS.labels(endpoint.forge_name, _result(status, answer)).inc()
        metrics.WEBHOOK_SECONDS.observe(seconds)
        milliseconds = round(seconds * 1000, 2)
        log.info(
            "delivery.received", endpoint=name, status=status, bytes=size, milliseconds=milliseconds, **_logged(answer)
        )
        return _json(status, answer)

    def _open(self, name: str, endpoint: Endpoint, request: web.Request, body: bytes) -> Delivery:
        """Verify, and only then parse."""
        groups = endpoint.verify(request.headers, body, self._secrets)
        if groups is None:
            raise Refused(503, "no secret of this endpoint can be read", retry_after=RETRY_AFTER)
        if not groups:
            raise Refused(401, "the delivery is not signed by a secret of this endpoint")
        try:
            event = groups[0].forge.parse(request.headers, body)
        except PayloadError as error:
            raise Refused(400, str(error)[:500]) from None
        return Delivery(event, groups, hashlib.sha256(name.encode() + b"\0" + body).hexdigest())

    async def _handle(self, delivery: Delivery, received_at: float) -> tuple[int, dict[str, Any]]:
        event, event_id = delivery.event, delivery.id
        if isinstance(event, Ignored):
            return 200, {"event": event_id, "ignored": event.reason}
        sources, known = wanted(delivery.groups, event)
        if not sources:
            return 200, {"event": event_id, "ignored": _nothing(event, known)}
        marks = [_mark(source, event) for source in sources]
        try:
            marked = await self._queue.mark(marks, event=event_id, delivery=delivery.identity, received_at=received_at)
        except (RedisError, OSError) as error:
            log.error("redis.unreachable", event_id=event_id, error=type(error).__name__)
            raise Refused(503, "Redis is away: nothing was queued", retry_after=RETRY_AFTER) from None
        rows = [_row(source, result) for source, result in zip(sources, marked, strict=True)]
        applied = all(result.outcome == "applied" for result in marked)
        return (200 if applied else 202), {"event": event_id, "sources": rows}


def _mark(source: Wanted, event: PushEvent) -> Mark:
    update, view = source.update, source.view
    description = f"{event.kind} {update.after[:8]}".strip()
    return Mark(view.id, update.after, update.before, description, view.digest)


def _row(source: Wanted, result: Marked) -> dict[str, Any]:
    return {
        "source": result.source,
        "ref": source.view.ref,
        "outcome": result.outcome,
        "generation": result.generation,
    }


def _nothing(event: PushEvent, known: bool) -> str:
    if not known:
        return f"no repository of this endpoint has the address {', '.join(event.repositories[:3])[:300]}"
    return f"no application follows {', '.join(update.ref for update in event.updates[:5])[:300]}"


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
