"""Builds packs and deltas byte by byte, also broken ones; written from gitformat-pack(5), apart from the code under
test."""

from __future__ import annotations

import hashlib
import zlib


def varint(value: int) -> bytes:
    out = bytearray()
    while True:
        byte, value = value & 0x7F, value >> 7
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)


def copy(offset: int, size: int) -> bytes:
    code, arguments = 0x80, b""
    for bit in range(4):
        if byte := (offset >> (8 * bit)) & 0xFF:
            code |= 1 << bit
            arguments += bytes([byte])
    for bit in range(3):
        if byte := (0 if size == 0x10000 else size >> (8 * bit)) & 0xFF:
            code |= 0x10 << bit
            arguments += bytes([byte])
    return bytes([code]) + arguments


def insert(data: bytes) -> bytes:
    assert 0 < len(data) < 128
    return bytes([len(data)]) + data


def delta(base_size: int, result_size: int, *instructions: bytes) -> bytes:
    return varint(base_size) + varint(result_size) + b"".join(instructions)


def entry(kind: int, data: bytes, *, base: bytes = b"", size: int | None = None) -> bytes:
    """One entry: header, what names the base, the data deflated; ``size``: to declare another one."""
    left = len(data) if size is None else size
    head = bytearray([(kind << 4) | (left & 0x0F)])
    left >>= 4
    while left:
        head[-1] |= 0x80
        head.append(left & 0x7F)
        left >>= 7
    return bytes(head) + base + zlib.compress(data)


def distance(value: int) -> bytes:
    """How an offset delta names its base."""
    out = [value & 0x7F]
    while value := value >> 7:
        value -= 1
        out.append(0x80 | (value & 0x7F))
    return bytes(reversed(out))


def pack(*entries: bytes, count: int | None = None) -> bytes:
    body = b"PACK" + (2).to_bytes(4, "big") + (len(entries) if count is None else count).to_bytes(4, "big")
    body += b"".join(entries)
    return body + hashlib.sha1(body).digest()


def oid(kind: str, data: bytes) -> bytes:
    return hashlib.sha1(f"{kind} {len(data)}\0".encode() + data).digest()


def tree(*entries: tuple[int, bytes, bytes]) -> bytes:
    """A raw tree in the order given, however wrong."""
    return b"".join(b"%o %s\0%s" % (mode, name, target) for mode, name, target in entries)


def commit(tree_id: bytes, *parents: bytes, message: str = "change") -> bytes:
    lines = [f"tree {tree_id.hex()}", *(f"parent {parent.hex()}" for parent in parents)]
    who = "A Developer <developer@shop.example> 1700000000 +0000"
    return ("\n".join([*lines, f"author {who}", f"committer {who}", "", message]) + "\n").encode()
