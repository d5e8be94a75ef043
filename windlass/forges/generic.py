"""Anything else that can sign: CI, a post-receive hook, a forge without a module here.

``X-Windlass-Signature: sha256=<hex HMAC-SHA256 of the raw body>``, and a body of::

    {"repository": "https://git.example/shop/manifests.git",
     "updates": [{"ref": "refs/heads/main", "after": "<commit>", "before": "<commit>"}]}

``before`` may be left out. ``after`` of 40 zeros says that the ref is gone. ``X-Windlass-Delivery`` may carry an id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from windlass.events import Event, RefUpdate
from windlass.forges.base import ObjectId, Payload, RefName, decode, delivery_id, pushed
from windlass.forges.signatures import Headers, hex_digest, signed
from windlass.forges.status import Status, StatusRequest

name: Final = "generic"


class _Update(Payload, frozen=True):
    ref: RefName
    after: ObjectId
    before: ObjectId | None = None


class _Push(Payload, frozen=True, forbid_unknown_fields=True):
    repository: str
    updates: list[_Update]


_PUSH: Final = msgspec.json.Decoder(_Push)


def verify(headers: Headers, body: bytes, secrets: Sequence[bytes]) -> bool:
    return signed(hex_digest(headers.get("X-Windlass-Signature"), "sha256="), body, secrets)


def parse(headers: Headers, body: bytes) -> Event:
    push = decode(_PUSH, body)
    updates = [RefUpdate(update.ref, update.after, update.before or "") for update in push.updates]
    return pushed([push.repository], updates, delivery_id(headers.get("X-Windlass-Delivery")))


def status_request(status: Status) -> StatusRequest | None:
    """There is no API to call."""
    return None
