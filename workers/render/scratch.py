"""Folders for one render each, in memory where the machine has such a place; what a killed process left is removed.

What must hold: nobody else can look in (0700); what is written is exactly what was resolved, so that a file which was not
followed is missing, and the renderer fails loudly instead of using it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import NamedTuple

_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder below it is private and of a random name
_PREFIX = "windlass-render-"
_LOCK = ".lock"
_MEMORY_TYPES = ("tmpfs", "ramfs")


class Folder(NamedTuple):
    """``files`` is where the repository's root is; ``home`` is what the program may write."""

    files: Path
    home: Path


class Scratch:
    """A process' own folder of folders."""

    def __init__(self, place: Path | None = None) -> None:
        self._place = place or (_MEMORY if os.access(_MEMORY, os.W_OK | os.X_OK) else Path(tempfile.gettempdir()))
        self.in_memory = _is_memory(self._place)
        self._root: Path | None = None
        self._lock: int | None = None

    def open(self) -> None:
        """Make the folder, and remove those of processes that were killed."""
        for left in self._place.glob(f"{_PREFIX}*"):
            _remove_abandoned(left)
        self._root = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._place))
        unlocked = self._root / f"{_LOCK}-new"
        self._lock = os.open(unlocked, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        unlocked.rename(self._root / _LOCK)  # whoever sees it under this name finds it locked

    def close(self) -> None:
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)
            self._root = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextlib.asynccontextmanager
    async def folder(self, files: Mapping[str, bytes]) -> AsyncIterator[Folder]:
        """A folder that holds ``files`` (paths from the repository's root), as long as it is needed."""
        assert self._root is not None, "the scratch folder is not open"
        made = Path(tempfile.mkdtemp(dir=self._root))
        try:
            yield await asyncio.to_thread(_fill, made, files)
        finally:
            await asyncio.to_thread(shutil.rmtree, made, ignore_errors=True)


def _fill(made: Path, files: Mapping[str, bytes]) -> Folder:
    folder = Folder(made / "files", made / "home")
    folder.files.mkdir()
    folder.home.mkdir()
    root = str(folder.files)
    for parent in sorted({path.rpartition("/")[0] for path in files}):
        os.makedirs(f"{root}/{parent}", exist_ok=True)  # noqa: PTH103 - a hundred files are a hundred Paths saved
    for path, data in files.items():
        with open(f"{root}/{path}", "xb", buffering=0) as file:  # noqa: PTH123
            file.write(data)
    return folder


def _is_memory(place: Path) -> bool:
    """Is what is written there never written to a disk (swap aside)?"""
    try:
        mounts = Path("/proc/self/mounts").read_text()
    except OSError:
        return False
    found = {fields[1]: fields[2] for line in mounts.splitlines() if len(fields := line.split(" ")) > 2}
    at = place.resolve()
    nearest = next((str(path) for path in (at, *at.parents) if str(path) in found), "/")
    return found.get(nearest) in _MEMORY_TYPES


def _remove_abandoned(folder: Path) -> None:
    """Remove the folder unless its process lives: then it holds the lock. What is not ours can't be locked, and stays."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return
    finally:
        os.close(lock)
