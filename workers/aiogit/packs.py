"""A small pack reader for the packs of single pushes: every object resolved in memory, with its id. Pure.

Larger packs go to ``git index-pack`` (see ``unpack``): this one holds everything at once. What must hold: memory
stays within the budgets whatever the pack declares, an object's id is computed from its bytes and never believed, and
the checksum fits.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from typing import NamedTuple

from workers.aiogit.deltas import apply_delta, delta_sizes
from workers.aiogit.errors import CorruptPackError, IncompleteError

COMMIT, TREE, BLOB, TAG = 1, 2, 3, 4
_OFS_DELTA, _REF_DELTA = 6, 7
NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}
HEADER_BYTES = 12
_TRAILER_BYTES = 20


class PackObject(NamedTuple):
    kind: int
    data: bytes


class _Entry(NamedTuple):
    offset: int
    base: int | bytes
    data: bytes


class OverBudgetError(Exception):
    """The pack is too large for this reader; not an error of the pack."""


def object_count(header: bytes) -> int:
    """How many objects the pack declares, from its first 12 bytes.

    :raises CorruptPackError: it is no pack of version 2.
    """
    if len(header) < HEADER_BYTES or header[:8] != b"PACK\x00\x00\x00\x02":
        raise CorruptPackError("the server sent something that is not a pack")
    return int.from_bytes(header[8:12], "big")


def object_id(kind: int, data: bytes) -> bytes:
    """The SHA-1 object id, as 20 bytes."""
    return hashlib.sha1(b"%s %d\0" % (NAMES[kind], len(data)) + data, usedforsecurity=False).digest()


def read_pack(pack: bytes, base: Callable[[bytes], PackObject | None], *, max_inflated: int) -> dict[bytes, PackObject]:
    """All objects of ``pack`` by id. ``base`` finds those that a thin pack leaves out.

    :raises CorruptPackError: :raises IncompleteError: a base is nowhere.
    :raises OverBudgetError: more than ``max_inflated`` bytes once inflated.
    """
    count = object_count(pack)
    if len(pack) < HEADER_BYTES + _TRAILER_BYTES:
        raise CorruptPackError("the pack ends too early")
    body_end = len(pack) - _TRAILER_BYTES
    if hashlib.sha1(pack[:body_end], usedforsecurity=False).digest() != pack[body_end:]:
        raise CorruptPackError("the pack's checksum does not fit")
    reader = _Reader(memoryview(pack)[:body_end], base, max_inflated)
    for _ in range(count):
        reader.read_entry()
    reader.finish()
    return reader.objects


class _Reader:
    def __init__(self, body: memoryview, base: Callable[[bytes], PackObject | None], budget: int) -> None:
        self._body, self._find, self._budget = body, base, budget
        self._position = HEADER_BYTES
        self._by_offset: dict[int, PackObject] = {}
        self._waiting: list[_Entry] = []
        self.objects: dict[bytes, PackObject] = {}

    def read_entry(self) -> None:
        try:
            offset = self._position
            kind, size = self._header()
            base: int | bytes = b""
            if kind == _OFS_DELTA:
                base = offset - self._base_distance()
            elif kind == _REF_DELTA:
                base = bytes(self._body[self._position : self._position + 20])
                self._position += 20
            elif kind not in NAMES:
                raise CorruptPackError("the pack holds an object of an unknown kind")
            data = self._inflate(size)
        except IndexError:
            raise CorruptPackError("the pack ends too early") from None
        if kind in NAMES:
            self._add(offset, PackObject(kind, data))
        elif not self._resolve(entry := _Entry(offset, base, data)):
            self._waiting.append(entry)

    def finish(self) -> None:
        """Resolve the deltas whose base came later, and see that nothing is left."""
        if self._position != len(self._body):
            raise CorruptPackError("the pack holds more than it declares")
        while self._waiting:
            left = [entry for entry in self._waiting if not self._resolve(entry)]
            if len(left) == len(self._waiting):
                raise IncompleteError(f"{len(left)} deltas of the pack have no base")
            self._waiting = left

    def _resolve(self, entry: _Entry) -> bool:
        base = self._base(entry.base)
        if base is None:
            return False
        self._spend(delta_sizes(entry.data)[1])
        self._add(entry.offset, PackObject(base.kind, apply_delta(base.data, entry.data)))
        return True

    def _base(self, base: int | bytes) -> PackObject | None:
        if isinstance(base, int):
            return self._by_offset.get(base)
        return self.objects.get(base) or self._find(base)

    def _add(self, offset: int, item: PackObject) -> None:
        self._by_offset[offset] = item
        self.objects[object_id(item.kind, item.data)] = item

    def _header(self) -> tuple[int, int]:
        byte = self._next()
        kind, size, shift = (byte >> 4) & 7, byte & 0x0F, 4
        while byte & 0x80:
            byte = self._next()
            size |= (byte & 0x7F) << shift
            shift += 7
            if shift > 63:
                raise CorruptPackError("the pack declares an impossible size")
        return kind, size

    def _base_distance(self) -> int:
        byte = self._next()
        distance = byte & 0x7F
        while byte & 0x80:
            byte = self._next()
            distance = ((distance + 1) << 7) | (byte & 0x7F)
            if distance > len(self._body):
                raise CorruptPackError("a delta's base lies outside of the pack")
        return distance

    def _next(self) -> int:
        byte = self._body[self._position]
        self._position += 1
        return byte

    def _inflate(self, size: int) -> bytes:
        """The next zlib stream, which must give exactly ``size`` bytes. Fed in pieces, so that little of the rest is
        copied."""
        self._spend(size)
        stream = zlib.decompressobj()
        pieces: list[bytes] = []
        got, window = 0, size + size // 1000 + 64
        try:
            while not stream.eof:
                piece = self._body[self._position : self._position + window]
                if not piece:
                    raise CorruptPackError("the pack ends too early")
                out = stream.decompress(piece, size - got + 1)
                got += len(out)
                if got > size or stream.unconsumed_tail:
                    raise CorruptPackError("an object is larger than the pack declares")
                pieces.append(out)
                self._position += len(piece) - len(stream.unused_data)
        except zlib.error:
            raise CorruptPackError("the pack holds a broken zlib stream") from None
        if got != size:
            raise CorruptPackError("an object is smaller than the pack declares")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _spend(self, size: int) -> None:
        self._budget -= size
        if self._budget < 0:
            raise OverBudgetError
