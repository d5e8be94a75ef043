"""What every registry's module provides. The rules are those of `windlass.forges.base`: verify the raw bytes, then parse.

What must hold: `parse` returns an event or raises `PayloadError`, whatever the verified bytes are; what isn't the publication
of a tagged image is `Ignored`, and says why.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Protocol

import msgspec

from windlass.events import Ignored, ImagePublished, ImagesPublished
from windlass.forges.base import PayloadError
from windlass.forges.signatures import Headers, base64_bytes, same_secret
from windlass.registries.names import DIGEST, TAG, image_name

Tag = Annotated[str, msgspec.Meta(pattern=rf"\A{TAG}\Z")]
Digest = Annotated[str, msgspec.Meta(pattern=rf"\A(?:{DIGEST})\Z")]

ImageEvent = ImagesPublished | Ignored
MOST = 1000
"""Images of one delivery."""


class Presented(msgspec.Struct, frozen=True):
    """What a request shows to be believed: its headers, and the secret in its address ("" where there is none)."""

    headers: Headers
    url_secret: str = ""


class Registry(Protocol):
    """One registry: a module of this package."""

    @property
    def name(self) -> str:
        """As documents spell it."""

    def verify(self, presented: Presented, body: bytes, secrets: Sequence[bytes]) -> bool:
        """Does the sender know one of the secrets? In constant time; nothing is parsed."""

    def parse(self, headers: Headers, body: bytes, host: str | None) -> ImageEvent:
        """The event of verified bytes; ``host`` is the registry's name in images, where the document gives one.

        :raises PayloadError: the payload isn't of the documented shape.
        """


def by_token(presented: Presented, secrets: Sequence[bytes]) -> bool:
    """The secret is in a header: Authorization (as it is, Bearer, or Basic's password), or X-Api-Key."""
    authorization = presented.headers.get("Authorization", "")
    scheme, _, value = authorization.partition(" ")
    given = [authorization, value if scheme.lower() == "bearer" else "", presented.headers.get("X-Api-Key", "")]
    tokens = [text.encode(errors="surrogateescape") for text in given]
    credentials = (base64_bytes(value) if scheme.lower() == "basic" else None) or b""
    tokens += [credentials.partition(b":")[2], credentials]
    verified = False
    for token in tokens:
        verified |= same_secret(token, secrets)
    return verified


def by_url(presented: Presented, secrets: Sequence[bytes]) -> bool:
    """The secret is in the address, for senders that can't send a header."""
    return same_secret(presented.url_secret.encode(errors="surrogateescape"), secrets)


def by_token_or_url(presented: Presented, secrets: Sequence[bytes]) -> bool:
    """For senders that can send a header, and often don't."""
    verified = by_token(presented, secrets)
    return by_url(presented, secrets) or verified


def named(image: str) -> str:
    """The image's one spelling.

    :raises PayloadError: it is no image's name.
    """
    name = image_name(image)
    if name is None:
        raise PayloadError(f"{image[:100]!r} is not the name of an image")
    return name


def timestamp(text: str | None) -> float:
    """The seconds since the epoch of an RFC 3339 time; 0 where it can't be read."""
    with contextlib.suppress(msgspec.ValidationError):
        return msgspec.convert(text, datetime).timestamp()
    return 0.0


def published(images: Iterable[ImagePublished], delivery: str, otherwise: str) -> ImageEvent:
    """The event of these images; without any, an ignored one that says ``otherwise``."""
    found = tuple(dict.fromkeys(images))
    if len(found) > MOST:
        raise PayloadError(f"more than {MOST} images in one delivery")
    return ImagesPublished(found, delivery) if found else Ignored(otherwise, delivery)
