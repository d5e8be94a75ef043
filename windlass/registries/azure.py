"""Azure Container Registry: push events. The secret is a custom header of the webhook (``Authorization=Bearer …``).

Shape: learn.microsoft.com, "Azure Container Registry webhook reference".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from windlass.forges.base import decode, delivery_id
from windlass.forges.signatures import Headers
from windlass.registries.base import ImageEvent, Presented, by_token, published
from windlass.registries.distribution import PushEvent

name: Final = "azure"

_EVENT: Final = msgspec.json.Decoder(PushEvent)


def verify(presented: Presented, body: bytes, secrets: Sequence[bytes]) -> bool:
    return by_token(presented, secrets)


def parse(headers: Headers, body: bytes, host: str | None) -> ImageEvent:
    event = decode(_EVENT, body)
    return published(event.images(host), delivery_id(event.id), f"action {event.action[:64]!r} publishes no tag")
