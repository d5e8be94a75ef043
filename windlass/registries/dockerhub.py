"""Docker Hub: signs nothing and sends no header of ours, so the secret is in the webhook's address.

The payload names no digest. Shape: docs.docker.com, "Webhooks" of Docker Hub.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from windlass.events import ImagePublished
from windlass.forges.base import Payload, decode
from windlass.forges.signatures import Headers
from windlass.registries.base import ImageEvent, Presented, Tag, by_url, named, published
from windlass.registries.names import DOCKER_HUB

name: Final = "dockerhub"


class _Push(Payload, frozen=True):
    tag: Tag
    pushed_at: float = 0.0


class _Repository(Payload, frozen=True):
    repo_name: str


class _Event(Payload, frozen=True):
    push_data: _Push
    repository: _Repository


_EVENT: Final = msgspec.json.Decoder(_Event)


def verify(presented: Presented, body: bytes, secrets: Sequence[bytes]) -> bool:
    return by_url(presented, secrets)


def parse(headers: Headers, body: bytes, host: str | None) -> ImageEvent:
    event = decode(_EVENT, body)
    image = named(f"{host or DOCKER_HUB}/{event.repository.repo_name}")
    return published([ImagePublished(image, event.push_data.tag, at=event.push_data.pushed_at)], "", "")
