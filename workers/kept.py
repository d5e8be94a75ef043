"""Rendered sets that are kept, to go back to when Git can't be asked: of the last healthy revisions of each application.

A set is everything that a revision wanted, as it was rendered. It is compressed, encrypted and authenticated whole, with a key
that Redis doesn't have (`windlass.sealed`): who writes Redis can take sets away, but not make or change one, nor pass one off as
another application's or revision's. That a revision was healthy is sealed as well. Without a key nothing is kept.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import structlog
from redis.asyncio import Redis

from windlass.documents.types import Application
from windlass.errors import PermanentError
from windlass.sealed import SealError, SealingKeys
from windlass.wire import raw, text
from workers.desired import Desired, Output
from workers.plan import Sketch
from workers.render.plain import Manifest
from workers.slices import sliced

log = structlog.get_logger(__name__)

HEALTHY_KEPT = 10
UNPROVED_KEPT = 2
"""Sets of revisions that nobody has seen healthy yet, beside those."""
LARGEST = 64 << 20
"""Bytes of a set before compression; a larger one is not kept."""
LEVEL = 1
"""zlib's: rendered manifests shrink tenfold with the quickest, and a push waits for none of it."""

_decoder = msgspec.json.Decoder(dict[str, Any])


def index_key(application: str) -> str:
    """A sorted set: revision -> when it was kept, in seconds since the epoch. What is in it is only looked for."""
    return f"windlass:kept:{application}"


def set_key(application: str, revision: str) -> str:
    return f"windlass:kept:{application}:{revision}"


def marks_key(application: str) -> str:
    """A hash: revision -> the sealed moment at which it was seen healthy."""
    return f"windlass:kept:{application}:healthy"


class KeptSet(NamedTuple):
    """What a revision wanted. ``lines``: by what names an object, its manifest as a line of JSON."""

    revision: str
    revisions: Mapping[str, str]  # source -> commit, where there are several
    lines: Mapping[str, bytes]

    def output(self) -> Output:
        """As if a renderer had made it just now."""
        manifests, random = [], {}
        for place, line in enumerate(self.lines.values()):
            item = _decoder.decode(line)
            api_version, kind, namespace, name = item["o"]
            manifests.append(Manifest(api_version, kind, namespace, name, item["b"], item["f"], item["l"]))
            if item["r"]:
                random[place] = tuple(tuple(path) for path in item["r"])
        return Output(manifests, {}, (), random)


class KeptRevision(NamedTuple):
    """A set that there is. ``healthy``: seconds since the epoch; 0 if nobody has seen it healthy."""

    revision: str
    kept: float
    healthy: float


class KeptSets:
    """Keeps, marks and finds them."""

    def __init__(self, redis: Redis, keys: SealingKeys) -> None:
        self.redis, self._keys = redis, keys

    async def keep(self, application: Application, kept: KeptSet) -> None:
        """Keep a set; one that is too large is not, and the log says so."""
        size = sum(map(len, kept.lines.values()))
        if size > LARGEST:
            log.warning("kept.too_large", application=application.name, revision=kept.revision, bytes=size)
            return
        sealed = await asyncio.to_thread(self._seal, application, kept)
        pipeline = self.redis.pipeline(transaction=True)
        pipeline.set(set_key(application.name, kept.revision), sealed)
        pipeline.zadd(index_key(application.name), {kept.revision: time.time()})
        await pipeline.execute()
        await self._drop_old(application.name)
        log.info("kept.set", application=application.name, revision=kept.revision, bytes=len(sealed))

    async def mark_healthy(self, name: str, revision: str) -> None:
        """Note that ``revision`` was seen healthy, unless that is known, or there is no set of it."""
        pipeline = self.redis.pipeline(transaction=False)
        pipeline.zscore(index_key(name), revision)
        pipeline.hexists(marks_key(name), revision)
        there, known = await pipeline.execute()
        if there is not None and not known:
            mark = self._keys.seal(repr(time.time()).encode(), _mark_of(name, revision))
            await self.redis.hset(marks_key(name), revision, mark)
            await self._drop_old(name)

    async def read(self, application: Application, revision: str) -> KeptSet:
        """The set of ``revision``.

        :raises PermanentError: there is none, or it can't be opened.
        """
        value = await self.redis.get(set_key(application.name, revision))
        if value is None:
            raise PermanentError(f"no rendered set of revision {revision[:12]} is kept")
        try:
            return await asyncio.to_thread(self._open, application, revision, raw(value))
        except SealError as error:
            raise PermanentError(f"the kept set of revision {revision[:12]} {error}") from None

    async def revisions(self, name: str) -> list[KeptRevision]:
        """What is kept of an application, the newest first."""
        pipeline = self.redis.pipeline(transaction=False)
        pipeline.zrange(index_key(name), 0, -1, desc=True, withscores=True)
        pipeline.hgetall(marks_key(name))
        found, marks = await pipeline.execute()
        return [KeptRevision(text(r), kept, self._healthy(name, text(r), marks.get(r))) for r, kept in found]

    async def forget(self, name: str) -> None:
        """Of an application that was deleted."""
        keys = [set_key(name, one.revision) for one in await self.revisions(name)]
        await self.redis.delete(*keys, index_key(name), marks_key(name))

    def _healthy(self, name: str, revision: str, mark: bytes | None) -> float:
        if mark is None:
            return 0.0
        try:
            return float(self._keys.open(mark, _mark_of(name, revision)))
        except SealError as error:
            log.warning("kept.mark_refused", application=name, revision=revision, error=str(error))
            return 0.0

    async def _drop_old(self, name: str) -> None:
        found = await self.revisions(name)
        healthy = sorted((one for one in found if one.healthy), key=lambda one: one.healthy, reverse=True)
        unproved = [one for one in found if not one.healthy]
        if gone := [one.revision for one in (*healthy[HEALTHY_KEPT:], *unproved[UNPROVED_KEPT:])]:
            pipeline = self.redis.pipeline(transaction=True)
            pipeline.delete(*(set_key(name, revision) for revision in gone))
            pipeline.zrem(index_key(name), *gone)
            pipeline.hdel(marks_key(name), *gone)
            await pipeline.execute()

    def _seal(self, application: Application, kept: KeptSet) -> bytes:
        head = msgspec.json.encode(dict(kept.revisions))
        plain = b"\n".join((head, *(key.encode() + b"\t" + line for key, line in kept.lines.items())))
        return self._keys.seal(zlib.compress(plain, LEVEL), _set_of(application, kept.revision))

    def _open(self, application: Application, revision: str, sealed: bytes) -> KeptSet:
        plain = zlib.decompress(self._keys.open(sealed, _set_of(application, revision)))
        head, *rest = plain.split(b"\n")
        pairs = (line.partition(b"\t") for line in rest)
        return KeptSet(
            revision,
            msgspec.json.decode(head, type=dict[str, str]),
            {key.decode(): line for key, _, line in pairs},
        )


async def collected(
    desired: Desired, before: KeptSet | None, revision: str, revisions: Mapping[str, str]
) -> KeptSet | None:
    """The set of ``revision``: everything that it wants, or what it changed laid over the set ``before``.

    None if that can't be told: only changes were read, and there is no set of what they change. In slices: reading ten
    thousand manifests again must not hold the loop.
    """
    lines: dict[str, bytes] = {}
    if desired.by_changes:
        if before is None:
            return None
        lines.update(before.lines)
        for sketch in desired.rendered.before:
            lines.pop(_name(sketch, 0), None)
    async for number, sketch in sliced(enumerate(desired.rendered.wanted)):
        lines[_name(sketch, number if sketch.generated else 0)] = _line(desired, sketch)
    return KeptSet(revision, revisions, lines)


def _line(desired: Desired, sketch: Sketch) -> bytes:
    manifest = desired.manifests.manifest(sketch)
    names = (manifest.api_version, manifest.kind, manifest.namespace, manifest.name)
    return msgspec.json.encode(
        {"o": names, "f": manifest.file, "l": manifest.line, "r": sketch.random, "b": manifest.body}
    )


def _name(sketch: Sketch, number: int) -> str:
    """What names an object among those of a set; several may be generated from one name."""
    return " ".join((sketch.api_version, sketch.kind, sketch.namespace, sketch.name, str(number)))


def _set_of(application: Application, revision: str) -> bytes:
    destination = application.spec.destination
    return _what("set", application.name, destination.cluster, destination.namespace or "", revision)


def _mark_of(name: str, revision: str) -> bytes:
    return _what("healthy", name, revision)


def _what(*words: str) -> bytes:
    return b"\0".join(word.encode() for word in words)
