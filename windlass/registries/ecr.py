"""Amazon ECR, by an EventBridge rule whose target is an API destination; its connection sends the secret.

Of the connection's ways, API key (Authorization or X-Api-Key) and basic authentication are understood. Shape:
docs.aws.amazon.com, "Amazon ECR events and EventBridge".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from windlass.events import ImagePublished
from windlass.forges.base import Payload, decode, delivery_id
from windlass.forges.signatures import Headers
from windlass.registries.base import Digest, ImageEvent, Presented, by_token, named, published, timestamp
from windlass.registries.names import TAG

name: Final = "ecr"


class _Detail(Payload, frozen=True, rename="kebab"):
    result: str = ""
    repository_name: str = ""
    action_type: str = ""
    image_digest: Digest | None = None
    image_tag: Annotated[str, msgspec.Meta(pattern=rf"\A(?:{TAG})?\Z")] = ""


class _Event(Payload, frozen=True, rename="kebab"):
    detail_type: str
    detail: _Detail
    account: str = ""
    region: str = ""
    id: str = ""
    time: str | None = None


_EVENT: Final = msgspec.json.Decoder(_Event)


def verify(presented: Presented, body: bytes, secrets: Sequence[bytes]) -> bool:
    return by_token(presented, secrets)


def parse(headers: Headers, body: bytes, host: str | None) -> ImageEvent:
    event = decode(_EVENT, body)
    delivery, detail = delivery_id(event.id), event.detail
    pushed = event.detail_type == "ECR Image Action" and (detail.action_type, detail.result) == ("PUSH", "SUCCESS")
    if not pushed or not detail.image_tag:
        return published([], delivery, f"{event.detail_type[:64]} {detail.action_type[:64]} publishes no tag")
    domain = "amazonaws.com.cn" if event.region.startswith("cn-") else "amazonaws.com"
    image = named(f"{host or f'{event.account}.dkr.ecr.{event.region}.{domain}'}/{detail.repository_name}")
    found = ImagePublished(image, detail.image_tag, detail.image_digest or "", at=timestamp(event.time))
    return published([found], delivery, "")
