"""Applying a pack's deltas (gitformat-pack(5)). Pure.

What must hold: nothing is allocated beyond the size that the delta declares, and that size is checked before.
"""

from __future__ import annotations

from workers.aiogit.errors import CorruptPackError


def delta_sizes(delta: bytes) -> tuple[int, int, int]:
    """(size of the base, size of the result, where the instructions begin)."""
    base, position = _size(delta, 0)
    result, position = _size(delta, position)
    return base, result, position


def apply_delta(base: bytes, delta: bytes) -> bytes:
    """The object that ``delta`` makes of ``base``.

    :raises CorruptPackError: it does not fit ``base``, or contradicts itself.
    """
    base_size, result_size, position = delta_sizes(delta)
    if base_size != len(base):
        raise CorruptPackError("a delta does not belong to its base")
    pieces: list[bytes] = []
    left, end = result_size, len(delta)
    try:
        while position < end:
            code = delta[position]
            position += 1
            if code & 0x80:
                offset, size, position = _copy(delta, code, position)
                if offset + size > base_size:
                    raise CorruptPackError("a delta copies from beyond its base")
                piece = base[offset : offset + size]
            elif code:
                size, piece = code, delta[position : position + code]
                position += code
            else:
                raise CorruptPackError("a delta has an unknown instruction")
            left -= size
            if left < 0 or len(piece) != size:
                raise CorruptPackError("a delta does not make what it declares")
            pieces.append(piece)
    except IndexError:
        raise CorruptPackError("a delta ends too early") from None
    if left:
        raise CorruptPackError("a delta does not make what it declares")
    return b"".join(pieces)


def _size(delta: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(delta) or shift > 56:
            raise CorruptPackError("a delta has no proper sizes")
        byte = delta[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, position


def _copy(delta: bytes, code: int, position: int) -> tuple[int, int, int]:
    offset = size = 0
    for bit in range(4):
        if code & (1 << bit):
            offset |= delta[position] << (8 * bit)
            position += 1
    for bit in range(3):
        if code & (0x10 << bit):
            size |= delta[position] << (8 * bit)
            position += 1
    return offset, size or 0x10000, position
