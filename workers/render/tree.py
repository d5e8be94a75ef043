"""A commit's tree, or what changed in it, as sketches of manifests: read in slices that never hold the event loop.

Bodies are not kept: a blob is parsed once for its sketches and, if it must be written, once more when its turn comes; a
small cache, by blob id, makes that one parse where little changed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from workers.aiogit.errors import LimitExceededError
from workers.ignore import NOTHING_LEFT, IgnoreRules
from workers.plan import ObjectError, Sketch, sketch
from workers.render.plain import Manifest, ManifestError, is_manifest, parse_file
from workers.render.sops import is_encrypted
from workers.slices import sliced

CACHE_BYTES = 4 << 20
"""Bytes of YAML whose parsed form is kept. What is parsed takes about ten times as much."""


class Change(Protocol):
    """One file that differs between two trees."""

    @property
    def path(self) -> str: ...
    @property
    def old(self) -> str | None: ...
    @property
    def new(self) -> str | None: ...
    @property
    def refused(self) -> str: ...


class Blobs(Protocol):
    def blob(self, oid: str) -> bytes: ...


class Rendered(NamedTuple):
    """``before`` are the manifests that the changed files held, ``errors`` what could not be read (then nothing is pruned)."""

    wanted: list[Sketch]
    before: list[Sketch]
    errors: list[ObjectError]
    files: frozenset[str]


class ManifestReader:
    """Manifests by blob id, parsed when asked for."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._cache: OrderedDict[tuple[str, str], tuple[int, list[Manifest]]] = OrderedDict()
        self._bytes = 0

    def manifests(self, blob: str, file: str) -> list[Manifest]:
        """What ``file`` holds at ``blob``.

        :raises ManifestError: with file and line.
        """
        cached = self._cache.get((blob, file))
        if cached is not None:
            self._cache.move_to_end((blob, file))
            return cached[1]
        data = self._blobs.blob(blob)
        if is_encrypted(data):
            raise ManifestError("is encrypted with SOPS, and the application's source names no keys (sops)", file, 1)
        parsed = parse_file(data, file)
        self._cache[blob, file] = len(data), parsed
        self._bytes += len(data)
        while self._bytes > CACHE_BYTES:
            _, (size, _) = self._cache.popitem(last=False)
            self._bytes -= size
        return parsed

    def manifest(self, item: Sketch) -> Manifest:
        return self.manifests(item.blob, item.file)[item.place]


async def render(
    changes: Iterable[Change], reader: ManifestReader, secret_key: bytes, ignore: IgnoreRules = NOTHING_LEFT
) -> Rendered:
    """The sketches of what changed. Every unreadable file is an error of its own; the others are read all the same."""
    wanted: list[Sketch] = []
    before: list[Sketch] = []
    errors: list[ObjectError] = []
    files: set[str] = set()
    async for change in sliced(changes):
        if change.refused:
            errors.append(ObjectError("", change.path, 0, change.refused))
        elif is_manifest(change.path):
            files.add(change.path)
            errors += _read(change.new, change.path, reader, secret_key, ignore, wanted)
            # what could not be read was not applied either
            _read(change.old, change.path, reader, secret_key, ignore, before)
    return Rendered(wanted, before, errors, frozenset(files))


def _read(
    blob: str | None, file: str, reader: ManifestReader, secret_key: bytes, ignore: IgnoreRules, into: list[Sketch]
) -> Sequence[ObjectError]:
    if blob is None:
        return ()
    try:
        parsed = reader.manifests(blob, file)
    except ManifestError as error:
        return [ObjectError("", error.file, error.line, error.message)]
    except LimitExceededError as error:
        return [ObjectError("", file, 0, str(error))]
    into.extend(sketch(manifest, blob, place, secret_key, ignore=ignore) for place, manifest in enumerate(parsed))
    return ()
