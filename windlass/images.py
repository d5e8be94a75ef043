"""A reference of an image as it is written somewhere, in its parts: one can be replaced, and the others stay as written.

What images mean by their names, and when two names are one image, `windlass.registries.names` says. Pure.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from windlass.registries.names import DIGEST, TAG, parse_reference

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
    found = parse_reference(text)
    if found is None:
        return None
    rest = text.removesuffix(f"@{found.digest}") if found.digest else text
    return ImageReference(
        found.name, rest.removesuffix(f":{found.tag}") if found.tag else rest, found.tag, found.digest
    )


def valid_tag(text: str) -> bool:
    return _TAG.fullmatch(text) is not None


def valid_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None
