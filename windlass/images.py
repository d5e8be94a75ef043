"""A reference of an image as it is written somewhere, in its parts: one can be replaced, and the others stay as written.

What images mean by their names, and when two names are one image, `windlass.registries.names` says. Pure.
Grammar: github.com/distribution/reference.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from windlass.registries.names import DIGEST, TAG, image_name

LONGEST = 1024
_REFERENCE = re.compile(rf"(?P<written>[^@\s]+?)(?::(?P<tag>{TAG}))?(?:@(?P<digest>{DIGEST}))?", re.ASCII)
_TAG, _DIGEST = re.compile(TAG, re.ASCII), re.compile(DIGEST, re.ASCII)


class ImageReference(NamedTuple):
    """``name`` is the one spelling by which images are compared; ``written`` the one that stood there."""

    name: str
    written: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return self.written + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse_image(text: str) -> ImageReference | None:
    """``[registry/]repository[:tag][@digest]`` in its parts; None if it is no reference."""
    match = _REFERENCE.fullmatch(text) if len(text) <= LONGEST else None
    name = image_name(match["written"]) if match else None
    return ImageReference(name, match["written"], match["tag"] or "", match["digest"] or "") if match and name else None


def valid_tag(text: str) -> bool:
    return _TAG.fullmatch(text) is not None


def valid_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None
