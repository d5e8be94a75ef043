"""Docker Distribution's notifications: registry:2 and 3, and GitLab's own registry, which is one.

The secret is the Authorization header of the endpoint's ``headers``. One delivery has several events; each pushed layer is
one too, and has no tag. Shape: distribution.github.io, "Notifications"; GitLab: docs.gitlab.com, "Configure container registry
notifications".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from windlass.events import ImagePublished
from windlass.forges.base import Payload, PayloadError, decode, delivery_id
from windlass.forges.signatures import Headers
from windlass.registries.base import Digest, ImageEvent, Presented, Tag, by_token, named, published, timestamp

name: Final = "distribution"


class Target(Payload, frozen=True):
    repository: str
    digest: Digest | None = None
    tag: Tag | None = None


class Request(Payload, frozen=True):
    host: str | None = None


class PushEvent(Payload, frozen=True):
    """One event; Azure's webhook is one alone."""

    action: str
    id: str = ""
    timestamp: str | None = None
    target: Target | None = None
    request: Request | None = None

    def images(self, host: str | None) -> Iterator[ImagePublished]:
        """The image, if a tag was pushed."""
        if self.action != "push" or self.target is None or not self.target.tag:
            return
        registry = host or (self.request.host if self.request else None)
        if not registry:
            raise PayloadError("the event names no registry (`request.host`); say `host` in the document")
        image = named(f"{registry}/{self.target.repository}")
        yield ImagePublished(image, self.target.tag, self.target.digest or "", at=timestamp(self.timestamp))


class _Envelope(Payload, frozen=True):
    events: list[PushEvent]


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)


def verify(presented: Presented, body: bytes, secrets: Sequence[bytes]) -> bool:
    return by_token(presented, secrets)


def parse(headers: Headers, body: bytes, host: str | None) -> ImageEvent:
    events = decode(_ENVELOPE, body).events
    images = [image for event in events for image in event.images(host)]
    return published(images, delivery_id(*(event.id for event in events[:1])), "no tag was pushed")
