"""Where the Redis of a running `windlass up` is, for the commands of another terminal.

`up` writes its address, password and all, to a file below WINDLASS_DATA that only its owner can read. What must hold: a file
that a killed `up` left behind misleads nobody for longer than it takes to ask, and the next `up` replaces it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from windlass.errors import WindlassError
from windlass.settings import Settings


def file(settings: Settings) -> Path:
    """Where it is written."""
    return settings.data / "redis-of-up"


@contextlib.contextmanager
def announced(settings: Settings, url: str) -> Iterator[Path]:
    """Say where Redis is, for as long as the block lasts.

    :raises WindlassError: the file can't be written.
    """
    path = file(settings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".redis-")  # readable by its owner only
        with os.fdopen(handle, "w") as out:
            out.write(f"{url}\n")
        Path(draft).replace(path)
    except OSError as error:
        raise WindlassError(f"{path}: can't be written: {error.strerror}") from None
    try:
        yield path
    finally:
        if read(settings) == url:  # another `up` may have come since
            path.unlink(missing_ok=True)


def read(settings: Settings) -> str | None:
    """The announced address; None if there is none, or if somebody else could have written it."""
    try:
        with file(settings).open() as source:
            status = os.fstat(source.fileno())
            ours = status.st_uid == os.geteuid() and not status.st_mode & 0o077
            return source.read(2048).strip() or None if ours else None
    except (OSError, UnicodeDecodeError):
        return None
