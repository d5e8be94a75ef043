"""The applications that one run of a source brings to a commit: at once, each cluster's in its lane, giving way together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog
from redis.exceptions import RedisError

from windlass.documents.catalog import SourceView
from windlass.documents.types import Application, Source
from windlass.errors import LeaseLostError, TransientError, WindlassError
from windlass.queue import Hint, Run
from windlass.state import read_state
from workers.aiogit import GitRepository
from workers.aiogit.address import is_object_id
from workers.application import ApplicationRun, Outcome
from workers.context import Context
from workers.dependencies import release
from workers.desired import SourceAt
from workers.followed import paths
from workers.following import Following
from workers.handover import Handover
from workers.lanes import Lane, Turn, lanes
from workers.vouched import NotVouchedError, vouched

log = structlog.get_logger(__name__)
LOOK_EVERY = 0.5
"""Seconds between two looks for a newer commit, while applications are being applied."""


class Group:
    """The applications of one source in one run: those of one cluster wait for each other before they prune, and all
    give way together."""

    def __init__(
        self,
        context: Context,
        run: Run,
        view: SourceView,
        repository: GitRepository,
        affected: Iterable[Application],
        advanced: asyncio.Task[None],
    ) -> None:
        """``advanced``: Redis is being told that these applications are behind; nothing is written before it knows."""
        self._advanced = advanced
        self._context, self._run, self._view, self._repository = context, run, view, repository
        self._lanes = lanes(affected, context.settings.concurrency)
        self._running: set[ApplicationRun] = set()
        self._handover = Handover()
        self._unfinished = {application.name for application in affected}

    def lane(self, application: Application) -> Lane:
        return self._lanes[application.spec.destination.cluster]

    async def reconcile(
        self, application: Application, commit: str, hint: Hint | None, fetch: str, durations: dict[str, float]
    ) -> Outcome:
        async with self.lane(application).turn() as turn:
            outcome = await self._in_turn(application, commit, hint, fetch, durations, turn)
        self._unfinished.discard(application.name)
        if outcome.phase == "Synced":
            await release(self._context, application.name)
        return outcome

    async def _in_turn(
        self,
        application: Application,
        commit: str,
        hint: Hint | None,
        fetch: str,
        durations: dict[str, float],
        turn: Turn,
    ) -> Outcome:
        lease = await self._context.leases.acquire("application", application.name)
        log.debug("application.begun", application=application.name, revision=commit)
        try:
            one = ApplicationRun(
                self._context,
                application,
                commit=commit,
                trigger=self._view.id,
                sources=lambda: self._sources(application, commit),
                goes_first=self._unfinished.__contains__,
                event=hint.event if hint else "",
                received=hint.received_at if hint else None,
                lease=lease,
                state=await read_state(self._context.redis, application.name),
            )
            one.note(fetch=fetch, durations=durations)
            return await self._steps(one, turn)
        finally:
            log.debug("application.left", application=application.name, revision=commit)
            await lease.release()

    async def _sources(self, application: Application, commit: str) -> list[SourceAt]:
        """The application's sources: this job's at ``commit``, the others where their own jobs last were.

        Read under the application's lease: whoever has it last sees what all jobs had compared by then.
        """
        found = []
        for source in application.spec.sources:
            if source.id == self._view.id:
                found.append(SourceAt(source, self._repository, commit))
            else:
                found.append(await self._other(source))
        return found

    async def _other(self, source: Source) -> SourceAt:
        """:raises TransientError: its own job, which comes, has not compared it yet."""
        processed = await self._context.queue.processed(source.id)
        if not processed:
            raise TransientError(f"the source {source.id} was not read yet", retry_after=1.0)
        try:
            return SourceAt(source, await vouched(self._context, source, processed), processed)
        except NotVouchedError:
            if (view := self._context.catalog.sources.get(source.id)) is not None:
                await self._context.queue.nudge(view.id, digest=view.digest, reason="its tip is doubted")
            raise

    async def _steps(self, one: ApplicationRun, turn: Turn) -> Outcome:
        self._running.add(one)
        lane = self.lane(one.application)
        progress = iter((lane.prepared, lane.applied))
        try:
            await one.prepare()
            self._handover.unreadable(one.application, one.unreadable)
            next(progress).passed()
            await self._advanced
            if one.taking:
                async with turn.given_up():
                    await lane.prepared.wait()
            await one.apply()
            next(progress).passed()
            if one.leaving:
                async with turn.given_up():
                    await lane.applied.wait()
                await one.prune(self.still_newest, self._handover)
        except (asyncio.CancelledError, LeaseLostError, RedisError):
            raise
        except Exception as error:  # noqa: BLE001 - an application's failure is its own: recorded, and the others go on
            one.fail(error)
        finally:
            if one.withheld is not None:
                self._handover.unreadable(one.application, one.unreadable)
                self._handover.waiting(one.application, one.withheld)
            elif not one.claimed:
                self._handover.silent(one.application)
            for milestone in progress:
                milestone.passed()
            self._running.discard(one)
        return await one.finish()

    async def watch(self) -> None:
        """While applications are being applied, look for a newer commit; those that it changes give way."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                await self._look()
            except WindlassError as error:
                log.warning("preemption.unknown", error=str(error))

    async def still_newest(self, one: ApplicationRun) -> bool:
        """The last look before a prune."""
        await self._look()
        return not one.superseded

    async def _look(self) -> None:
        if await self._context.queue.generation(self._run.source) == self._run.generation:
            return
        following = Following(self._repository, self._view.ref)
        tip = following.ref if is_object_id(following.ref) else await following.tip()
        if tip is None:
            return
        await self._repository.fetch(following.ref, tip, paths=looked_at(self._view), name=f"{self._run.source}-next")
        for one in self._running:
            one.superseded = one.changed_by(self._view.id, tip)


def looked_at(view: SourceView) -> list[str]:
    """The paths in the repository that its applications name, before anybody knows what else they read."""
    return sorted({path for application in view.applications for path in paths(view.id, application, {})})
