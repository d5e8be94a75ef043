"""Our own: what CI posts to ``/images`` once it has published an image, with a bearer token::

    {"image": "registry.example/shop/web", "tag": "1.4.2", "digest": "sha256:…",
     "source": {"repository": "https://git.example/shop/web.git", "commit": "<40 hex digits>"}}

or a list of these. ``image`` may carry tag and digest itself (``registry.example/shop/web:1.4.2``); digest and source may be
left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from windlass.events import ImagePublished
from windlass.forges.base import ObjectId, PayloadError, decode, delivery_id
from windlass.forges.signatures import Headers
from windlass.registries.base import Digest, ImageEvent, Presented, Tag, by_token, published
from windlass.registries.names import parse_reference

name: Final = "ci"


class _Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    commit: ObjectId
    repository: Annotated[str, msgspec.Meta(max_length=2048)] = ""


class Published(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    image: str
    tag: Tag | None = None
    digest: Digest | None = None
    source: _Source | None = None

    def published(self, at: float = 0.0) -> ImagePublished:
        """:raises PayloadError: the image is none, or has no tag, or two."""
        reference = parse_reference(self.image)
        if reference is None:
            raise PayloadError(f"image: {self.image[:100]!r} is not the name of an image")
        tag = self.tag or reference.tag
        if not tag:
            raise PayloadError("the field `tag` is missing")
        if reference.tag not in ("", tag) or reference.digest not in ("", self.digest or reference.digest):
            raise PayloadError("`image` names another tag or digest than `tag` and `digest`")
        source = self.source
        return ImagePublished(
            reference.name,
            tag,
            self.digest or reference.digest,
            commit=source.commit if source else "",
            repository=source.repository if source else "",
            at=at,
        )


_BODY: Final = msgspec.json.Decoder(Published | list[Published])


def verify(presented: Presented, body: bytes, secrets: Sequence[bytes]) -> bool:
    return by_token(presented, secrets)


def parse(headers: Headers, body: bytes, host: str | None) -> ImageEvent:
    found = decode(_BODY, body)
    images = [one.published() for one in (found if isinstance(found, list) else [found])]
    return published(images, delivery_id(headers.get("X-Windlass-Delivery")), "the list is empty")
