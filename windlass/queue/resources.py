"""Custom resources on their way through Redis: written by the watcher that has read them, followed by service and workers.

What must hold: who writes Redis does not choose what is applied. The set of resources is signed (HMAC-SHA256, by the key that the
processes share) together with its generation, which only grows; what isn't signed so, or is older than what was heard, changes
nothing. A lost memory changes nothing either: the watcher writes again what Redis lacks. Secrets are in it as references only.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from windlass.documents.resources import Resource
from windlass.wire import raw

log = structlog.get_logger(__name__)

KEY = "windlass:resources"
"""A hash: ``generation``, ``body`` and ``mac``."""
MOST_DIGITS = 20
LOOK_SECONDS = 0.25
LARGEST = 256 << 20
"""Bytes that a set may have; zlib could make far more of a few."""
_LABEL = b"windlass custom resources 1"

_decoder = msgspec.json.Decoder(tuple[Resource, ...])


class Handed(NamedTuple):
    """A set of resources, complete, and its generation."""

    generation: int
    resources: tuple[Resource, ...]


class Handover:
    """Writes and reads the set of resources in one Redis."""

    def __init__(self, redis: Redis, shared_key: bytes) -> None:
        self._redis, self._key = redis, hmac.digest(shared_key, _LABEL, hashlib.sha256)

    async def write(self, resources: Sequence[Resource], *, after: int) -> int:
        """Hand on these; returns their generation, which is larger than ``after`` and than Redis' own.

        A clock makes it so even where nobody remembers: generations are milliseconds since the epoch, or more.
        """
        there = await self.read()
        generation = max(time.time_ns() // 1_000_000, after + 1, there.generation + 1 if there else 0)
        body = await asyncio.to_thread(_packed, resources)
        items: list[str | bytes] = ["generation", str(generation), "body", body, "mac", self._mac(generation, body)]
        await self._redis.hset(KEY, items=items)
        return generation

    async def generation(self) -> bytes | None:
        """What Redis says the generation is; nobody has signed that."""
        found = await self._redis.hget(KEY, "generation")
        return raw(found) if found is not None else None

    async def read(self) -> Handed | None:
        """What was handed on; None if there is nothing, or not what one of us has signed."""
        answers = await self._redis.hmget(KEY, ["generation", "body", "mac"])
        if None in answers:
            return None
        number, body, mac = (raw(one) for one in answers if one is not None)
        generation = int(number) if number.isdigit() and len(number) < MOST_DIGITS else 0
        if not hmac.compare_digest(mac, self._mac(generation, body)):
            log.error("resources.refused", error="not signed by this installation's key (WINDLASS_KEY)")
            return None
        return Handed(generation, await asyncio.to_thread(_unpacked, body))

    def _mac(self, generation: int, body: bytes) -> bytes:
        return hmac.digest(self._key, b"%d\0%b" % (generation, body), hashlib.sha256)


def _packed(resources: Iterable[Resource]) -> bytes:
    return zlib.compress(msgspec.json.encode(tuple(resources)), 1)


def _unpacked(body: bytes) -> tuple[Resource, ...]:
    """What one of us has packed."""
    return _decoder.decode(zlib.decompressobj().decompress(body, LARGEST))


class Listener:
    """Hears of each new set, once."""

    def __init__(self, handover: Handover) -> None:
        self._handover = handover
        self._looked: bytes | None = None
        self.generation = 0

    async def look(self) -> Handed | None:
        """A set that is newer than the last one; None: there is none.

        :raises RedisError: Redis is away.
        """
        said = await self._handover.generation()
        if said is None or said == self._looked:
            return None
        handed = await self._handover.read()
        self._looked = said
        if handed is None:
            return None
        if handed.generation == self.generation:
            return None
        if handed.generation < self.generation:
            log.error("resources.refused", error="older than what was heard", generation=handed.generation)
            return None
        self.generation = handed.generation
        return handed

    async def look_safely(self) -> Handed | None:
        """As `look`; a Redis that is away has nothing new."""
        try:
            return await self.look()
        except (RedisError, OSError) as error:
            log.warning("redis.unreachable", error=type(error).__name__)
            return None
