"""Quay: "Push to Repository" notifications. It signs nothing, so the secret is in the notification's address.

``updated_tags`` is a list; old servers send a mapping of tags to image ids. Shape: docs.redhat.com, "Repository notifications".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from windlass.events import ImagePublished
from windlass.forges.base import Payload, decode
from windlass.forges.signatures import Headers
from windlass.registries.base import ImageEvent, Presented, Tag, by_url, named, published

name: Final = "quay"


class _Event(Payload, frozen=True):
    repository: str
    docker_url: str | None = None
    updated_tags: list[Tag] | dict[Tag, Any] = msgspec.field(default_factory=list)


_EVENT: Final = msgspec.json.Decoder(_Event)


def verify(presented: Presented, body: bytes, secrets: Sequence[bytes]) -> bool:
    return by_url(presented, secrets)


def parse(headers: Headers, body: bytes, host: str | None) -> ImageEvent:
    event = decode(_EVENT, body)
    image = named(f"{host}/{event.repository}" if host else event.docker_url or f"quay.io/{event.repository}")
    return published((ImagePublished(image, tag) for tag in event.updated_tags), "", "no tag was pushed")
