"""Webhooks that never arrive: every repository's tips are looked at now and then, seldom while its webhooks do arrive.

What must hold: one question to the server a repository, whatever follows it; one worker at a time asks it; a poll proves no
more than that the tip is elsewhere, so it marks the source as a webhook without a commit would, and the run decides which
commit to believe. A server that doesn't answer is asked ever less often, and keeps no other waiting.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence

import structlog
from redis.exceptions import RedisError

from windlass.documents.catalog import SourceView
from windlass.documents.pipelines import PipelineView
from windlass.documents.types import Repository
from windlass.errors import WindlassError
from windlass.queue import Mark, Seen
from workers.aiogit.address import is_object_id
from workers.context import Context
from workers.following import asked, followed_commit
from workers.preview.again import asked_for, look_for_missed
from workers.promote.forge import ForgeAccess

log = structlog.get_logger(__name__)

EVENT = "poll"
QUIET_SECONDS = 1800.0
"""Between two polls while webhooks arrive; so long a delivery shows that they do. Also the longest back-off."""
JITTER = 0.2
TICK_SECONDS = 1.0
AT_ONCE = 4
"""Questions at once to one server."""


Moving = SourceView | PipelineView


class Poller:
    """One a worker; several share the repositories between them."""

    def __init__(self, context: Context) -> None:
        self._context, self._interval = context, context.settings.poll_seconds
        self._forge = ForgeAccess(context.secrets, context.secret_key)
        self._due: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._gates: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))

    async def run(self) -> None:
        """Poll what is due, for as long as the worker runs. The first polls are spread over one interval."""
        running: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                await asyncio.sleep(min(TICK_SECONDS, self._interval / 4))
                running = {name: task for name, task in running.items() if not task.done()}
                catalog = self._context.catalog
                repositories = _by_repository([*catalog.sources.values(), *catalog.pipelines.values()])
                now = time.monotonic()
                for gone in self._due.keys() - repositories.keys():
                    del self._due[gone]
                for name, views in repositories.items():
                    due = self._due.setdefault(name, now + random.uniform(0, self._interval))  # noqa: S311
                    if now >= due and name not in running:
                        running[name] = asyncio.create_task(self._poll(views[0].repository, views))
        finally:
            for task in running.values():
                task.cancel()
            await asyncio.gather(*running.values(), return_exceptions=True)
            await self._forge.close()

    async def _poll(self, repository: Repository, views: Sequence[Moving]) -> None:
        """Look once, if it is this worker's turn; then the next look is due."""
        name, wait = repository.name, self._interval
        try:
            seen = await self._context.queue.seen([view.id for view in views])
            wait = _spread(self._pause(seen, self._failures.get(name, 0)))
            if taken := await self._context.queue.may_poll(name, wait):
                wait = taken
                return
            await self._look(repository, views)
            refs = [view.ref for view in views if isinstance(view, SourceView)]
            if refs and asked_for(repository):
                await look_for_missed(self._context, self._forge, repository, refs)
            self._failures.pop(name, None)
        except (WindlassError, RedisError) as error:
            self._failures[name] = self._failures.get(name, 0) + 1
            log.warning("poll.failed", repository=name, error=str(error), next_in=round(wait, 1))
        except Exception:  # whatever it is, it must not end the polling of the others
            self._failures[name] = self._failures.get(name, 0) + 1
            log.exception("poll.failed", repository=name)
        finally:
            self._due[name] = time.monotonic() + wait

    def _pause(self, seen: Sequence[Seen], failures: int) -> float:
        longest = max(self._interval, QUIET_SECONDS)
        arrive = max(known.heard for known in seen) > time.time() - QUIET_SECONDS
        return longest if arrive else min(self._interval * 2 ** min(failures, 16), longest)

    async def _look(self, document: Repository, views: Sequence[Moving]) -> None:
        repository = await self._context.repositories.get(document)
        async with self._gates[repository.address.origin]:
            refs = await repository.refs(*sorted({asked(view.ref) for view in views}))
        seen = await self._context.queue.seen([view.id for view in views])  # as it is now, not as before the question
        marks = []
        for view, known in zip(views, seen, strict=True):
            tip = followed_commit(view.ref, refs)
            if tip is not None and is_news(tip, known):
                log.info("poll.found", source=view.id, tip=tip, processed=known.processed)
                marks.append(Mark(view.id, "", "", f"{EVENT} {tip[:8]}", view.digest, polled=tip))
        if marks:
            await self._context.queue.mark(marks, event=EVENT, delivery="", received_at=time.time())


def is_news(tip: str, known: Seen) -> bool:
    """Is a run needed for ``tip``? Once for each tip that differs from what was processed: what failed for it is tried
    again by the queue's own rules, or, if it can't succeed, not at all."""
    return tip != known.processed and (tip != known.polled or known.settled)


def _by_repository(views: Iterable[Moving]) -> dict[str, list[Moving]]:
    """What follows each repository and may move: a pinned commit does not."""
    found: dict[str, list[Moving]] = {}
    for view in views:
        if not is_object_id(view.ref):
            found.setdefault(view.repository.name, []).append(view)
    return found


def _spread(seconds: float) -> float:
    return seconds * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
