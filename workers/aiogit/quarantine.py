"""A folder apart for what git unpacks: objects join the store only after the proof; a failed fetch leaves no byte on
the disk."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_PREFIX = "incoming-"
_PARTS = (".rev", ".pack", ".idx")
"""The index last: a pack is seen by it."""


@asynccontextmanager
async def quarantine(store: Path) -> AsyncIterator[Path]:
    """A new folder in ``store``, removed with all that is left in it."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=store))
    try:
        yield folder
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def admit(folder: Path, store: Path) -> None:
    """Move the packs of ``folder`` into the store.

    :raises OSError: the disk.
    """
    target = store / "objects" / "pack"
    target.mkdir(exist_ok=True)
    for suffix in _PARTS:
        for file in (folder / "pack").glob(f"pack-*{suffix}"):
            file.replace(target / file.name)


def abandoned(store: Path, age: float) -> list[Path]:
    """What killed processes left, older than ``age`` seconds."""
    return [folder for folder in store.glob(f"{_PREFIX}*") if time.time() - folder.stat().st_mtime >= age]
