"""pkt-lines (gitprotocol-common(5)): the frames of Git's protocol, written and read. Pure, no I/O.

What must hold: a reader never keeps more than one frame and what arrived with it, whatever the peer sends.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from workers.aiogit.errors import ProtocolError

MAX_FRAME = 65520


class Mark(Enum):
    """Frames without a payload."""

    FLUSH = 0
    DELIMITER = 1
    RESPONSE_END = 2


Frame = bytes | Mark


def encode(payload: bytes | str) -> bytes:
    """One data frame.

    :raises ValueError: longer than a frame may be.
    """
    data = payload.encode() if isinstance(payload, str) else payload
    if len(data) + 4 > MAX_FRAME:
        raise ValueError("the payload does not fit one pkt-line")
    return b"%04x" % (len(data) + 4) + data


def encode_all(frames: Iterable[bytes | str | Mark]) -> bytes:
    """Several frames in a row."""
    return b"".join(b"%04x" % frame.value if isinstance(frame, Mark) else encode(frame) for frame in frames)


class FrameReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def clean(self) -> bool:
        """Did the stream end between two frames?"""
        return not self._rest

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes.

        :raises ProtocolError: a length that is none.
        """
        buffer, position = self._rest + data if self._rest else data, 0
        end, frames = len(buffer), list[Frame]()
        while end - position >= 4:
            size = _length(buffer[position : position + 4])
            if size < 4:
                position += 4
                frames.append(Mark(size))
                continue
            if end - position < size:
                break
            frames.append(buffer[position + 4 : position + size])
            position += size
        self._rest = buffer[position:]
        return frames


def _length(header: bytes) -> int:
    try:
        size = int(header, 16) if header.isalnum() else -1
    except ValueError:
        size = -1
    if size in (-1, 3) or size > MAX_FRAME:
        raise ProtocolError(f"the server sent {header!r} where a pkt-line's length belongs")
    return size
