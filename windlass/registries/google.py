"""Google Artifact Registry and Container Registry, by a push subscription of the Pub/Sub topic ``gcr``.

The secret is in the push endpoint's address: what else Pub/Sub can send is a JWT of Google's, which anybody with a project can
have made for any audience, so that its e-mail would have to be judged too (CVE-2026-40109). Shape: cloud.google.com,
"Configure Pub/Sub notifications" and "Receive messages using push".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from windlass.events import ImagePublished
from windlass.forges.base import Payload, PayloadError, decode, delivery_id
from windlass.forges.signatures import Headers, base64_bytes
from windlass.registries.base import ImageEvent, Presented, by_token_or_url, published, timestamp
from windlass.registries.names import parse_reference

name: Final = "google"


class _Message(Payload, frozen=True):
    data: str = ""
    message_id: str = msgspec.field(name="messageId", default="")
    publish_time: str | None = msgspec.field(name="publishTime", default=None)


class _Push(Payload, frozen=True):
    message: _Message


class _Action(Payload, frozen=True):
    action: str
    tag: str | None = None
    digest: str | None = None


_PUSH: Final = msgspec.json.Decoder(_Push)
_ACTION: Final = msgspec.json.Decoder(_Action)


def verify(presented: Presented, body: bytes, secrets: Sequence[bytes]) -> bool:
    return by_token_or_url(presented, secrets)


def parse(headers: Headers, body: bytes, host: str | None) -> ImageEvent:
    message = decode(_PUSH, body).message
    delivery, data = delivery_id(message.message_id), base64_bytes(message.data)
    if data is None:
        raise PayloadError("message.data is not base64")
    event = decode(_ACTION, data)
    if event.action != "INSERT" or not event.tag:
        return published([], delivery, f"action {event.action[:64]!r} publishes no tag")
    reference, by_digest = parse_reference(event.tag), parse_reference(event.digest or "")
    if reference is None or not reference.tag:
        raise PayloadError("the message's `tag` is not a reference with a tag")
    image = host + reference.name[reference.name.index("/") :] if host else reference.name
    digest = by_digest.digest if by_digest else ""
    return published([ImagePublished(image, reference.tag, digest, at=timestamp(message.publish_time))], delivery, "")
