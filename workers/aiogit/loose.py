"""Writing loose objects (gitrepository-layout(5)).

libgit2 compresses each with zlib: 6 ms of a push to a folder of 10,000 files go into its tree alone, whose ids can't
be compressed anyway. Large objects are therefore stored as zlib streams without compression, which any reader takes
(0.4 ms); gc packs them.
"""

from __future__ import annotations

import itertools
import os
import zlib
from pathlib import Path

from workers.aiogit.packs import NAMES

_UNCOMPRESSED_BYTES = 16 << 10


_serial = itertools.count()


def write_loose(objects: Path, oid: bytes, kind: int, data: bytes) -> None:
    """Write one object that is not there below the folder ``objects``; whole or not at all.

    :raises OSError: the disk.
    """
    name = oid.hex()
    level = 1 if len(data) < _UNCOMPRESSED_BYTES else 0
    content = zlib.compress(b"%s %d\0" % (NAMES[kind], len(data)) + data, level)
    folder = objects / name[:2]
    temporary = folder / f"tmp_obj_{os.getpid()}_{next(_serial)}"  # git's prefix for these: its prune knows it
    try:
        descriptor = _create(temporary)
    except FileNotFoundError:
        folder.mkdir(exist_ok=True)
        descriptor = _create(temporary)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        temporary.replace(folder / name[2:])
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
