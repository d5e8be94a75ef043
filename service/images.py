"""``POST /images`` from CI and ``POST /registries/{name}`` from registries: verify, parse, note, answer.

404 no such endpoint · 413, 415, 408 a body that isn't read · 401 not from who knows a secret · 403 known, but not for this
image · 400 verified, but not of the documented shape · 200 nothing to do, and why · 202 noted in Redis · 503 Redis is away.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

from aiohttp import web
from redis.exceptions import RedisError

from service.endpoints import Resolver
from service.follow import Documents
from service.receiver import RETRY_AFTER, Answer, Receiver, redis_is_away
from service.senders import Refused
from service.speakers import Speaker, Speakers, believed
from windlass.events import Ignored, ImagePublished
from windlass.forges.base import PayloadError
from windlass.queue.promotions import Queue, note, seal_of
from windlass.registries import ImageEvent, Presented

CI_ENDPOINT = "images"


class Delivery(NamedTuple):
    """A verified delivery, who sent it, and the version of the documents that it is judged by."""

    event: ImageEvent
    speakers: list[Speaker]
    documents: Speakers
    identity: str
    strict: bool  # what the sender may not speak of is refused: CI names one image, a registry all that it has

    @property
    def id(self) -> str:
        return self.event.delivery or uuid.uuid4().hex


class Images:
    """The two handlers, with what they need."""

    def __init__(self, documents: Documents, queue: Queue, secrets: Resolver, receiver: Receiver, key: bytes) -> None:
        self._documents, self._queue, self._secrets, self._receiver = documents, queue, secrets, receiver
        self._seal = seal_of(key)

    async def from_ci(self, request: web.Request) -> web.Response:
        """``POST /images``."""
        documents = self._documents.speakers
        return await self._receive(request, CI_ENDPOINT, documents, documents.ci, "", strict=True)

    async def from_registry(self, request: web.Request) -> web.Response:
        """``POST /registries/{name}``, with the secret behind it where the registry can send no other."""
        name, documents = request.match_info["name"], self._documents.speakers
        speaker = documents.registries.get(name)
        speakers = [speaker] if speaker is not None else []
        return await self._receive(
            request, name, documents, speakers, request.match_info.get("secret", ""), strict=False
        )

    async def _receive(
        self,
        request: web.Request,
        name: str,
        documents: Speakers,
        speakers: Sequence[Speaker],
        secret: str,
        *,
        strict: bool,
    ) -> web.Response:
        def find() -> Sequence[Speaker]:
            if not speakers:
                raise Refused(
                    404, "no such endpoint: no Registry document is of this name (or, for /images, of type ci)"
                )
            return speakers

        def unseal(_: Sequence[Speaker], body: bytes) -> Delivery:
            presented = Presented(request.headers, secret)
            known = believed(speakers, presented, body, self._secrets)
            if known is None:
                raise Refused(503, "no secret of this endpoint can be read", retry_after=RETRY_AFTER)
            if not known:
                raise Refused(401, "the sender knows no secret of this endpoint")
            try:
                event = known[0].registry.parse(request.headers, body, known[0].host)
            except PayloadError as error:
                raise Refused(400, str(error)[:500]) from None
            identity = hashlib.sha256(f"images {strict} {name}".encode() + b"\0" + body).hexdigest()
            return Delivery(event, known, documents, identity, strict=strict)

        def label(found: Sequence[Speaker]) -> str:
            return f"registry {found[0].kind}"

        return await self._receiver.receive(request, name, find=find, label=label, unseal=unseal, handle=self._handle)

    async def _handle(self, delivery: Delivery, received_at: float) -> Answer:
        event, event_id = delivery.event, delivery.id
        if isinstance(event, Ignored):
            return 200, {"event": event_id, "ignored": event.reason}
        allowed = [image for image in event.images if any(s.scope.covers(image.image) for s in delivery.speakers)]
        if delivery.strict and len(allowed) < len(event.images):
            raise Refused(403, f"this token may not speak of {_names(set(event.images) - set(allowed))}")
        noted = delivery.documents.concerned(allowed)
        if not noted:
            return 200, {"event": event_id, "ignored": _nothing(event.images, allowed)}
        try:
            marked = await note(
                self._queue,
                noted,
                seal=self._seal,
                event=event_id,
                delivery=delivery.identity,
                received_at=received_at,
            )
        except (RedisError, OSError) as error:
            redis_is_away(event_id, error)
        rows: list[dict[str, Any]] = [
            {"promotion": one.promotion, "image": f"{one.image.image}:{one.image.tag}", "outcome": result.outcome}
            for one, result in zip(noted, marked, strict=True)
        ]
        applied = all(result.outcome == "applied" for result in marked)
        return (200 if applied else 202), {"event": event_id, "promotions": rows}


def _names(images: set[ImagePublished]) -> str:
    return ", ".join(sorted({image.image for image in images})[:3])[:300]


def _nothing(images: Sequence[ImagePublished], allowed: Sequence[ImagePublished]) -> str:
    if not allowed:
        return f"the Registry document does not name {_names(set(images))}"
    tags = ", ".join(f"{image.image}:{image.tag}" for image in allowed[:3])
    return f"no promotion follows {tags[:300]}"
