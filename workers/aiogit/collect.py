"""Garbage collection: every push leaves a few loose objects, and a rewritten history what nothing needs any more."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import structlog

from workers.aiogit.errors import GitError
from workers.aiogit.gitcli import GitCli, complaint
from workers.aiogit.quarantine import abandoned
from workers.aiogit.store import Store

log = structlog.get_logger(__name__)

LOOSE_OBJECTS, PACKS = 4000, 20
_ABANDONED_SECONDS = 7200.0
_STEPS = (
    ("pack-refs", "--all"),
    ("repack", "-a", "-d", "-q", "--window-memory=64m"),
    ("prune-packed", "-q"),
    ("prune", "--expire=now"),
)


def due(directory: Path) -> bool:
    """More than some 4,000 loose objects (estimated from one of 256 folders, as git does), 20 packs, or leftovers?"""
    sample = directory / "objects" / "17"
    if abandoned(directory, _ABANDONED_SECONDS):
        return True
    loose = sum(1 for _ in sample.iterdir()) * 256 if sample.is_dir() else 0
    return loose > LOOSE_OBJECTS or sum(1 for _ in (directory / "objects" / "pack").glob("*.pack")) > PACKS


async def collect(store: Store, git: GitCli, seconds: float) -> None:
    """Keep exactly what the pins of all processes reach. The caller holds the store's lock, exclusively.

    :raises GitError: a step failed; nothing that a pin reaches is lost by that.
    """
    started = time.perf_counter()
    for folder in abandoned(store.directory, 0.0):  # nobody else is at it now
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    store.reload_pins()
    store.drop_kept(time.time())
    for step in _STEPS:
        output = await git.run(step, seconds=seconds)
        if output.code:
            raise GitError(f"git {step[0]}: {complaint(output)}")
    store.reopen()
    log.info("git.collected", directory=str(store.directory), seconds=round(time.perf_counter() - started, 3))


async def is_sound(git: GitCli, seconds: float) -> bool:
    """Can everything be read that the pins reach? Reads all of it."""
    output = await git.run(["fsck", "--full", "--no-dangling", "--no-progress"], seconds=seconds)
    return output.code == 0
