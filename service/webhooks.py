"""``POST /webhooks/{name}``: verify, parse, mark, answer. Nothing slow happens here, and nothing is claimed that
Redis doesn't have.

404 no such endpoint (or no secret) · 413, 415, 408 a body that isn't read · 401 not signed by a secret of the
endpoint · 400 verified, but not of the documented shape · 200 nothing to do, and why · 202 queued in Redis · 503
Redis is away, come back.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from aiohttp import web
from redis.exceptions import RedisError

from service.endpoints import Endpoint, Group, Resolver, Wanted, previewed, wanted, woken
from service.follow import Documents
from service.receiver import RETRY_AFTER, Answer, Receiver, redis_is_away
from service.senders import Refused
from windlass.documents.promotions import PromotionView
from windlass.events import Event, Ignored, PullRequestEvent, PushEvent
from windlass.forges import PayloadError
from windlass.queue import Mark, Marked, previews


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

    def __init__(self, documents: Documents, queue: Queue, secrets: Resolver, receiver: Receiver) -> None:
        self._documents, self._queue, self._secrets, self._receiver = documents, queue, secrets, receiver

    async def receive(self, request: web.Request) -> web.Response:
        """Answer one delivery."""
        name = request.match_info["name"]

        def find() -> Endpoint:
            endpoint = self._documents.endpoints.get(name)
            if endpoint is None:
                raise Refused(404, "no such endpoint: no repository with a webhook secret has this name")
            return endpoint

        def unseal(endpoint: Endpoint, body: bytes) -> Delivery:
            return self._open(name, endpoint, request, body)

        def label(endpoint: Endpoint) -> str:
            return endpoint.forge_name

        return await self._receiver.receive(request, name, find=find, label=label, unseal=unseal, handle=self._handle)

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

    async def _handle(self, delivery: Delivery, received_at: float) -> Answer:
        event, event_id = delivery.event, delivery.id
        if isinstance(event, Ignored):
            return 200, {"event": event_id, "ignored": event.reason}
        sources, known = wanted(delivery.groups, event)
        if isinstance(event, PullRequestEvent) and event.kind == "open":
            return await self._preview(delivery, event, known, received_at)
        promotions = woken(delivery.groups, event) if isinstance(event, PullRequestEvent) else []
        if not sources and not promotions:
            return 200, {"event": event_id, "ignored": _nothing(event, known)}
        marks = [_mark(source, event) for source in sources]
        marks += [_wake(view, event) for view in promotions if isinstance(event, PullRequestEvent)]
        try:
            marked = await self._queue.mark(marks, event=event_id, delivery=delivery.identity, received_at=received_at)
        except (RedisError, OSError) as error:
            redis_is_away(event_id, error)
        applied = all(result.outcome == "applied" for result in marked)
        answer: dict[str, Any] = {"event": event_id}
        if sources:
            answer["sources"] = list(map(_row, sources, marked))
        if promotions:
            woke = zip(promotions, marked[len(sources) :], strict=True)
            answer["promotions"] = [{"promotion": v.promotion.name, "outcome": result.outcome} for v, result in woke]
        return (200 if applied else 202), answer

    async def _preview(self, delivery: Delivery, event: PullRequestEvent, known: bool, received_at: float) -> Answer:
        """A pull request is new, or not what it was: what it would change is to be said."""
        names = previewed(delivery.groups, event)
        if not names:
            return 200, {"event": delivery.id, "ignored": _nothing(event, known)}
        marks = [previews.mark(name, event.number, f"pull request {event.number}") for name in names]
        try:
            marked = await self._queue.mark(
                marks, event=delivery.id, delivery=delivery.identity, received_at=received_at
            )
        except (RedisError, OSError) as error:
            redis_is_away(delivery.id, error)
        rows = [{"repository": name, "outcome": result.outcome} for name, result in zip(names, marked, strict=True)]
        return 202, {"event": delivery.id, "previews": rows}


def _mark(source: Wanted, event: PushEvent | PullRequestEvent) -> Mark:
    update, view = source.update, source.view
    description = f"{event.kind} {update.after[:8]}".strip()
    return Mark(view.id, update.after, update.before, description, view.digest)


def _wake(view: PromotionView, event: PullRequestEvent) -> Mark:
    """No commit, no image: what the promotion finds is the forge's own answer."""
    return Mark(view.id, "", "", f"{event.kind} of pull request {event.number}", view.digest)


def _row(source: Wanted, result: Marked) -> dict[str, Any]:
    return {
        "source": result.source,
        "ref": source.view.ref,
        "outcome": result.outcome,
        "generation": result.generation,
    }


def _nothing(event: PushEvent | PullRequestEvent, known: bool) -> str:
    if not known:
        return f"no repository of this endpoint has the address {', '.join(event.repositories[:3])[:300]}"
    if not event.updates and isinstance(event, PullRequestEvent):
        who = "no plan is asked for of" if event.kind == "open" else "no promotion has"
        return f"{who} pull requests from {event.head} into {event.base}"[:300]
    return f"no application follows {', '.join(update.ref for update in event.updates[:5])[:300]}"
