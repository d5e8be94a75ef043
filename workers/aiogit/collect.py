"""Garbage collection: every push leaves a few loose objects, and a rewritten history what nothing needs any more."""

from __future__ import annotations

import time
from pathlib import Path

import structlog

from workers.aiogit.errors import GitError
from workers.aiogit.gitcli import GitCli, complaint
from workers.aiogit.store import Store

log = structlog.get_logger(__name__)

LOOSE_OBJECTS, PACKS = 4000, 20
_STEPS = (
    ("pack-refs", "--all"),
    ("repack", "-a", "-d", "-q", "--window-memory=64m"),
    ("prune-packed", "-q"),
    ("prune", "--expire=now"),
)


def due(directory: Path) -> bool:
    """More than some 4,000 loose objects (estimated from one of 256 folders, as git does), or 20 packs?"""
    sample = directory / "objects" / "17"
    loose = sum(1 for _ in sample.iterdir()) * 256 if sample.is_dir() else 0
    return loose > LOOSE_OBJECTS or sum(1 for _ in (directory / "objects" / "pack").glob("*.pack")) > PACKS


async def collect(store: Store, git: GitCli, seconds: float) -> None:
    """Keep exactly what the pins of all processes reach. The caller holds the store's lock, exclusively.

    :raises GitError: a step failed; nothing that a pin reaches is lost by that.
    """
    started = time.perf_counter()
    store.reload_pins()
    store.drop_kept(time.time())
    for step in _STEPS:
        output = await git.run(step, seconds=seconds)
        if output.code:
            raise GitError(f"git {step[0]}: {complaint(output)}")
    store.reopen()
    log.info("git.collected", directory=str(store.directory), seconds=round(time.perf_counter() - started, 3))
