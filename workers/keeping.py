"""Keeps the set of each revision that was applied, beside the runs: no push waits for it, and what is lost is only a way back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog
from redis.exceptions import RedisError

from windlass.documents.types import Application
from windlass.errors import PermanentError, WindlassError
from windlass.health import HEALTHY
from windlass.state import read_state
from workers.desired import Desired
from workers.kept import KeptSet, KeptSets, collected

log = structlog.get_logger(__name__)

WAITING = 4
"""Sets of one application that may wait to be kept; the next push's is built from the one before."""


class Keeping:
    """The sets that are being kept by this process."""

    def __init__(self, kept: KeptSets) -> None:
        self.kept = kept
        self._turns: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def later(
        self,
        application: Application,
        revision: str,
        revisions: Mapping[str, str],
        *,
        found: Desired,
        everything: Callable[[], Awaitable[Desired]],
        before: str,
    ) -> None:
        """Keep the set of ``revision``: ``found`` laid over the set of ``before``, else ``everything``."""
        if self._waiting.get(application.name, 0) >= WAITING:
            return
        self._waiting[application.name] = self._waiting.get(application.name, 0) + 1

        async def keep() -> None:
            try:
                async with self._turns.setdefault(application.name, asyncio.Lock()):
                    kept = await collected(found, await self._before(application, found, before), revision, revisions)
                    if kept is None:
                        kept = await collected(await everything(), None, revision, revisions)
                    if kept is not None:
                        await self.kept.keep(application, kept)
                        await self._mark(application.name, revision)
            except (WindlassError, RedisError, OSError) as error:
                log.warning("kept.failed", application=application.name, revision=revision, error=str(error))
            finally:
                self._waiting[application.name] -= 1

        task = asyncio.create_task(keep())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _before(self, application: Application, found: Desired, before: str) -> KeptSet | None:
        if not found.by_changes or not before:
            return None
        try:
            return await self.kept.read(application, before)
        except PermanentError:
            return None

    async def _mark(self, name: str, revision: str) -> None:
        """It may have become healthy while its set was being kept."""
        state = await read_state(self.kept.redis, name)
        if state.revision == revision and state.health.status == HEALTHY:
            await self.kept.mark_healthy(name, revision)
