"""What a renderer printed, as manifests. Documents that were seen before are not parsed again: of a hundred objects of which one
changed, one is parsed. The event loop is given back every few milliseconds."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from windlass.yamls import Path
from workers.render.cache import ByteCache
from workers.render.commit_tree import RenderError
from workers.render.plain import Manifest, ManifestError, parse_file
from workers.slices import SLICE_SECONDS

CACHE_BYTES = 8 << 20
"""Bytes of YAML whose parsed form is kept. What is parsed takes about ten times as much."""
MAX_DOCUMENTS = 20_000

_SEPARATOR = re.compile(rb"^---[ \t]*\r?\n", re.MULTILINE)


class RenderedReader:
    """Manifests from what renderers print."""

    def __init__(self) -> None:
        self._known: ByteCache[tuple[str, bytes], list[Manifest]] = ByteCache(CACHE_BYTES)

    async def manifests(self, output: bytes, file_of: Callable[[bytes], str]) -> list[Manifest]:
        """The objects of ``output``; ``file_of`` tells from a document's bytes which file it comes from.

        :raises RenderError: one of them is not a manifest.
        """
        found: list[Manifest] = []
        slice_end = time.monotonic() + SLICE_SECONDS
        for document in documents(output):
            file = file_of(document)
            known = self._known.get((file, document))
            if known is None:
                known = self._known.put((file, document), _parse(document, file), len(document))
            found += known
            if time.monotonic() >= slice_end:
                await asyncio.sleep(0)
                slice_end = time.monotonic() + SLICE_SECONDS
        return found


def documents(output: bytes) -> Iterator[bytes]:
    """The YAML documents of ``output``: a line of three hyphens always ends one, also within a block of text.

    :raises RenderError: there are too many of them.
    """
    count = 0
    for document in _SEPARATOR.split(output):
        if document and not document.isspace():
            count += 1
            if count > MAX_DOCUMENTS:
                raise RenderError(f"more than {MAX_DOCUMENTS} objects are rendered")
            yield document


def _parse(document: bytes, file: str) -> list[Manifest]:
    try:
        return [manifest._replace(line=0) for manifest in parse_file(document, file)]
    except ManifestError as error:
        raise RenderError(f"what is rendered is no manifest: {error.message}", file) from None


def differing(one: Any, other: Any, at: Path = ()) -> Iterator[Path]:
    """The paths at which two values differ; lists of unlike lengths, and values of unlike kinds, differ as a whole."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {**one, **other}:
            if key in one and key in other:
                yield from differing(one[key], other[key], (*at, key))
            else:
                yield (*at, key)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from differing(left, right, (*at, index))
    elif one != other or type(one) is not type(other):
        yield at
