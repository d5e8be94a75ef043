"""Harbor: PUSH_ARTIFACT, in its own format and as CloudEvents. The secret is the webhook policy's "Auth Header".

Shape: goharbor.io, "Configure Webhook Notifications".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from windlass.events import ImagePublished
from windlass.forges.base import Payload, PayloadError, decode, delivery_id
from windlass.forges.signatures import Headers
from windlass.registries.base import Digest, ImageEvent, Presented, Tag, by_token, named, published, timestamp

name: Final = "harbor"

PUSHED: Final = frozenset({"PUSH_ARTIFACT", "harbor.artifact.pushed"})


class _Resource(Payload, frozen=True):
    resource_url: str
    tag: Tag | None = None
    digest: Digest | None = None


class _Repository(Payload, frozen=True):
    repo_full_name: str


class Artifacts(Payload, frozen=True):
    """What was pushed: ``event_data`` of Harbor's own format, ``data`` of a CloudEvent."""

    resources: tuple[_Resource, ...] = ()
    repository: _Repository | None = None

    def images(self, host: str | None, at: float) -> Iterator[ImagePublished]:
        for resource in self.resources:
            if resource.tag:
                if self.repository is None:
                    raise PayloadError("Object missing required field `repository`")
                registry = host or resource.resource_url.partition("/")[0]
                image = named(f"{registry}/{self.repository.repo_full_name}")
                yield ImagePublished(image, resource.tag, resource.digest or "", at=at)


class _Event(Payload, frozen=True):
    type: str
    occur_at: float = 0.0
    event_data: Artifacts | None = None
    id: str = ""
    time: str | None = None
    data: Artifacts | None = None


_EVENT: Final = msgspec.json.Decoder(_Event)


def verify(presented: Presented, body: bytes, secrets: Sequence[bytes]) -> bool:
    return by_token(presented, secrets)


def parse(headers: Headers, body: bytes, host: str | None) -> ImageEvent:
    event = decode(_EVENT, body)
    artifacts = (event.event_data or event.data) if event.type in PUSHED else None
    images = artifacts.images(host, event.occur_at or timestamp(event.time)) if artifacts else ()
    return published(images, delivery_id(event.id), f"event {event.type[:64]!r} publishes no tag")
