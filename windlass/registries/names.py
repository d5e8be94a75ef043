"""Names of images in one comparable form, and the patterns that say which of them a secret may speak of. Pure.

What must hold: an image is compared by equality of this form, and matched by whole patterns only; Docker's short names
(``nginx``) mean what Docker means by them. Grammar: github.com/distribution/reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import re2

LONGEST = 255
DOCKER_HUB = "docker.io"
_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})
_HOST = re.compile(
    r"(?:[a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9])(?:\.(?:[a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9]))*(?::[0-9]{1,5})?"
)
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PART}(?:/{_PART})*")
TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
DIGEST = r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}"
_REFERENCE = re.compile(rf"(?P<name>[^@]+?)(?::(?P<tag>{TAG}))?(?:@(?P<digest>{DIGEST}))?", re.ASCII)


class Reference(NamedTuple):
    """A reference's parts, ``name`` as `image_name` spells it; ``tag`` and ``digest`` are "" where it has none."""

    name: str
    tag: str
    digest: str


@lru_cache(maxsize=4096)
def image_name(text: str) -> str | None:
    """The image's one spelling, with its registry; None if it is no image's name."""
    if len(text) > LONGEST:
        return None
    host, slash, path = text.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        host, path = DOCKER_HUB, text
    host = host.lower()
    if host in _HUB_NAMES:
        host = DOCKER_HUB
        path = path if "/" in path else f"library/{path}"
    return f"{host}/{path}" if _HOST.fullmatch(host) and _PATH.fullmatch(path) else None


def parse_reference(text: str) -> Reference | None:
    """``host/path:tag@digest`` in its parts; None if it is no reference."""
    match = _REFERENCE.fullmatch(text) if len(text) <= LONGEST + 300 else None
    name = image_name(match["name"]) if match else None
    return Reference(name, match["tag"] or "", match["digest"] or "") if match and name else None


class Scope:
    """The images that some patterns name: ``*`` is a part of a name between slashes, ``**`` any number of parts."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._pattern = re2.compile("|".join(f"(?:{_translated(pattern)})" for pattern in patterns))

    def covers(self, image: str) -> bool:
        """Is ``image``, as `image_name` spells it, one of them?"""
        return self._pattern.fullmatch(image) is not None


def _translated(pattern: str) -> str:
    parts = (
        ("[^/]*" if part == "*" else ".*") if part[:1] == "*" else re.escape(part)
        for part in re.split(r"(\*+)", pattern)
    )
    return "".join(parts)
