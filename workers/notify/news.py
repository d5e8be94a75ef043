"""What happened, matched with who wants to be told, and queued. The sender tells it later; nobody here waits for a receiver."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from windlass.documents.catalog import Catalog
from windlass.documents.notification import EventName
from windlass.documents.types import Application
from windlass.health import DEGRADED, HEALTHY
from windlass.queue.notices import Notices, Occurrence
from windlass.state import ApplicationState, Drift, read_states

if TYPE_CHECKING:
    from workers.application import Outcome

log = structlog.get_logger(__name__)

_ENDED: dict[str, EventName] = {"Synced": "applied", "Failed": "failed", "Retrying": "failed", "RolledBack": "failed"}
SHOWN = 3
"""Errors, or objects, that one notice names."""


class News:
    """Where runs, watchers and promotions say what happened. Costs nothing where no rule wants it."""

    def __init__(self, redis: Redis, catalog: Callable[[], Catalog]) -> None:
        self._redis, self._catalog, self._notices = redis, catalog, Notices(redis)
        self._tasks: set[asyncio.Task[None]] = set()
        self.wake = asyncio.Event()
        """Set when there is something to tell."""

    def started(self, repository: str, commit: str, applications: Iterable[Application]) -> None:
        """These applications are being applied. Kept beside the run, which doesn't wait: of a worker that is killed in this
        moment nobody hears that it began."""
        found = [occurrence("started", one, commit, repository=repository) for one in applications]
        if wanted := self._wanted(found):
            task = asyncio.create_task(self._kept(wanted))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def ended(self, repository: str, commit: str, outcomes: Iterable[Outcome]) -> None:
        """These runs ended; those that changed nothing of health may be healthy already."""
        found, applied = [], []
        for outcome in outcomes:
            event = _ENDED.get(outcome.phase)
            application = self._catalog().applications.get(outcome.application)
            if event is None or application is None:
                continue
            why = "; ".join(outcome.errors[:SHOWN])
            found.append(occurrence(event, application, commit, why, repository=repository))
            if event == "applied" and self._wants(("healthy",), application):
                applied.append(application)
        for application, state in zip(applied, await self._states(applied), strict=True):
            if state.last is not None and state.last.health == HEALTHY and state.last.revision == commit:
                found.append(occurrence("healthy", application, commit, repository=repository))
        await self._keep(self._wanted(found))

    async def unreadable(self, repository: str, commit: str, applications: Iterable[Application], why: str) -> None:
        """The commit could not be read, or is refused as it is."""
        found = [occurrence("failed", one, commit, why, repository=repository) for one in applications]
        await self._keep(self._wanted(found))

    async def health_changed(self, name: str) -> None:
        """The application's health is another one, maybe."""
        application = self._catalog().applications.get(name)
        if application is None or not self._wants(("healthy", "degraded"), application):
            return
        (state,) = await self._states([application])
        if state.health.status == HEALTHY and state.phase == "Synced":
            await self._keep(self._wanted([occurrence("healthy", application, state.revision)]))
        elif state.health.status == DEGRADED:
            found = occurrence("degraded", application, state.wanted or state.revision, state.health.why)
            await self._keep(self._wanted([found]))

    async def drifted(self, application: Application, drift: Drift) -> None:
        """Objects differ from Git and are not undone, or are undone again and again."""
        objects = sorted({*drift.objects, *drift.fights})
        if not objects or not self._wants(("drift",), application):
            return
        said = [f"{key}: {what}" for key, what in drift.objects.items()]
        said += [f"{key}: {manager} changes it back" for key, manager in drift.fights.items()]
        (state,) = await self._states([application])
        what = hashlib.sha256("\n".join(objects).encode()).hexdigest()[:16]
        found = occurrence("drift", application, state.revision, "; ".join(said[:SHOWN]), what=what)
        await self._keep(self._wanted([found]))

    async def promoted(self, found: Occurrence) -> None:
        """A promotion is in another phase; that it waits is no news."""
        if found.phase in ("Idle", "Waiting"):
            return
        await self._keep(self._wanted([found]))

    async def close(self) -> None:
        """What is being kept is kept."""
        await asyncio.gather(*self._tasks)

    def _wants(self, events: Sequence[EventName], application: Application) -> bool:
        rules = self._catalog().notifications.values()
        return any(rule.wants(event, application=application.name) for rule in rules for event in events)

    def _wanted(self, found: Iterable[Occurrence]) -> list[tuple[str, Occurrence]]:
        """Who is to be told what: (rule, occurrence). Deployments are told of commits that are on GitHub."""
        catalog = self._catalog()
        rules = catalog.notifications.values()
        return [
            (rule.name, one)
            for one in (found if rules else ())
            for rule in rules
            if rule.wants(one.event, application=one.application, promotion=one.promotion)
            and (rule.spec.to.github_deployments is None or _on_github(catalog, one))
        ]

    async def _states(self, applications: list[Application]) -> list[ApplicationState]:
        return await read_states(self._redis, [one.name for one in applications]) if applications else []

    async def _kept(self, wanted: list[tuple[str, Occurrence]]) -> None:
        try:
            await self._keep(wanted)
        except RedisError as error:
            log.warning("notification.not_kept", notices=len(wanted), error=str(error))

    async def _keep(self, wanted: list[tuple[str, Occurrence]]) -> None:
        if wanted and await self._notices.keep(wanted):
            self.wake.set()


def occurrence(
    event: EventName, application: Application, revision: str, why: str = "", *, repository: str = "", what: str = ""
) -> Occurrence:
    """Something that happened to an application, now. ``repository``: whose commit it is, where it isn't the first source's."""
    return Occurrence(
        event,
        time.time(),
        application=application.name,
        cluster=application.spec.destination.cluster,
        repository=repository or application.source.repository,
        revision=revision,
        why=why,
        what=what,
    )


def _on_github(catalog: Catalog, found: Occurrence) -> bool:
    repository = catalog.repositories.get(found.repository)
    return repository is not None and repository.spec.forge == "github"
