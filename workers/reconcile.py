"""The story of a push: read the tip, fetch it, see which applications it touches, make the cluster equal, report.

One job serves one source (repository and ref). It is level-triggered: it carries no commit, and looks at what is there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import structlog
from redis.exceptions import RedisError

from windlass import metrics
from windlass.documents.catalog import SourceView
from windlass.documents.types import Application, Source
from windlass.errors import LeaseLostError, TransientError, WindlassError
from windlass.queue import Hint, Run
from windlass.semver import range_of
from windlass.state import read_state, read_states
from workers.aiogit import Fetched, GitRepository
from workers.aiogit.address import is_object_id
from workers.application import ApplicationRun, Outcome, document_digest
from workers.context import Context
from workers.dependencies import release
from workers.desired import SourceAt
from workers.followed import Followed, load_inputs, paths, same
from workers.following import Following
from workers.handover import Handover
from workers.jobs import serve
from workers.lanes import Lane, Turn, lanes
from workers.preview.again import base_moved
from workers.report import Reporter
from workers.signed import require_signed
from workers.tip import believed_tip
from workers.viewing import view_of
from workers.vouched import NotVouchedError, vouched

log = structlog.get_logger(__name__)
LOOK_EVERY = 0.5
"""Seconds between two looks for a newer commit, while applications are being applied."""


class Reconciler:
    """The worker's one function: `reconcile(job_id, source, generation, digest)`."""

    def __init__(self, context: Context, reporter: Reporter) -> None:
        self._context, self._reporter = context, reporter
        self._followed: dict[str, tuple[tuple[str, int], Followed]] = {}
        self._tips: dict[str, str] = {}  # of the runs that go on now

    async def reconcile(self, job_id: str, source: str, generation: int, digest: str) -> dict[str, Any]:
        """Make every application of ``source`` equal to the source's tip; answers with a summary for the job's result."""
        try:
            return await serve(
                self._context.queue, job_id, source, lambda run: self._run(run, digest), self._source_failed
            )
        finally:
            self._tips.pop(source, None)

    async def _source_failed(self, run: Run, message: str) -> None:
        """A source error is said on the commit that could not be read. Nothing is pruned for it."""
        commit, view = self._tips.get(run.source), self._context.catalog.sources.get(run.source)
        if commit is None and run.hints:
            commit = run.hints[-1].commit
        if commit and view is not None:
            await self._reporter.source_failed(view, commit, message)

    async def _run(self, run: Run, digest: str) -> dict[str, Any]:
        view = await view_of(self._context, lambda catalog: catalog.sources, run.source, digest)
        if view is None:
            await self._context.queue.finish(run, error="no valid document follows this source")
            return {"source": run.source, "outcome": "no valid document follows this source"}
        queued = round((time.time() - run.hints[-1].received_at) * 1000, 2) if run.hints else 0.0
        started = time.perf_counter()
        repository = await self._context.repositories.get(view.repository)
        following = Following(repository, view.ref)
        async with _ahead(repository, view.ref, run):
            tip = self._tips[run.source] = await self._tip(run, following)
        if tip == run.processed and not run.dirty and run.documents == view.digest:
            await self._context.queue.finish(run)
            return {"source": run.source, "outcome": "nothing new", "commit": tip}
        read = time.perf_counter()
        fetched = await repository.fetch(following.ref, tip, paths=_paths(view), name=run.source)
        metrics.GIT_FETCHES.labels(fetched.way).inc()
        durations = {"queue": queued, "tip": _ms(started, read), "fetch": _ms(read, time.perf_counter())}
        await require_signed(
            repository,
            view.repository,
            self._context.secrets,
            source=run.source,
            ref=following.ref,
            commit=tip,
            applied=run.processed,
        )
        affected = await self._affected(run, view, repository, tip)
        advanced = asyncio.create_task(
            self._context.queue.advance(
                run,
                commit=tip,
                documents=view.digest,
                dirty=[app.name for app in affected],
                forget=run.dirty - {app.name for app in view.applications},
            )
        )
        outcomes = await self._reconcile_all(run, view, repository, affected, fetched, durations, advanced)
        retries = [outcome.retry_in for outcome in outcomes if outcome.retry_in is not None]
        if tip != run.processed:
            await base_moved(self._context, view.repository, view.ref, (one.application for one in outcomes))
        await self._context.queue.finish(run, retry_in=min(retries, default=None))
        return {
            "source": run.source,
            "commit": tip,
            "fetch": fetched.way,
            "applications": {outcome.application: outcome.phase for outcome in outcomes},
        }

    async def _tip(self, run: Run, following: Following) -> str:
        if is_object_id(following.ref):
            return following.ref  # a pinned commit is its own tip

        async def superseded() -> bool:
            return await self._context.queue.generation(run.source) != run.generation

        return await believed_tip(following, processed=run.processed, hints=run.hints, superseded=superseded)

    async def _affected(self, run: Run, view: SourceView, repository: GitRepository, tip: str) -> list[Application]:
        """The applications whose inputs differ from what was applied: found by the diff, not by asking each of them."""
        if run.documents != view.digest or not run.processed or not repository.has(run.processed):
            return await self._compare_each(view, repository, tip)
        followed = await self._followed_by(run, view)
        touched = await followed.touched(repository, run.processed, tip) | run.dirty
        return [app for app in view.applications if app.name in touched]

    async def _followed_by(self, run: Run, view: SourceView) -> Followed:
        """Kept for as long as neither the documents nor what renders read there change."""
        version = view.digest, run.followed
        known = self._followed.get(view.id)
        if known is not None and known[0] == version:
            return known[1]
        states = await read_states(self._context.redis, [app.name for app in view.applications])
        followed = Followed(view.id, view.applications, {s.name: load_inputs(s.inputs) for s in states if s.inputs})
        self._followed[view.id] = version, followed
        return followed

    async def _compare_each(self, view: SourceView, repository: GitRepository, tip: str) -> list[Application]:
        states = await read_states(self._context.redis, [app.name for app in view.applications])
        return [
            app
            for app, state in zip(view.applications, states, strict=True)
            if state.document != document_digest(app, self._context.catalog.limits_of(app))
            or state.whole
            or not repository.has(state.revision_of(view.id))
            or not same(repository, state.revision_of(view.id), tip, paths(view.id, app, load_inputs(state.inputs)))
            or state.phase != "Synced"
        ]

    async def _reconcile_all(
        self,
        run: Run,
        view: SourceView,
        repository: GitRepository,
        affected: list[Application],
        fetched: Fetched,
        durations: dict[str, float],
        advanced: asyncio.Task[None],
    ) -> list[Outcome]:
        """All affected applications at once; what came of a cluster's is said as soon as its last one ended."""
        if not affected:
            await advanced
            if run.attempts:
                await self._reporter.source_read(view, fetched.commit)
            return []
        hint = run.hints[-1] if run.hints else None
        group = _Group(self._context, run, view, repository, affected, advanced)
        way = fetched.way + (f" ({fetched.reason})" if fetched.reason else "")
        await self._reporter.started(view.repository, fetched.commit, affected, source=view.id)

        async def follow(application: Application) -> Outcome:
            outcome = await group.reconcile(application, fetched.commit, hint, way, durations)
            if ended := group.lane(application).ended(outcome):
                received = hint.received_at if hint else None
                await self._reporter.finished(view.repository, fetched.commit, ended, received=received)
            return outcome

        watch = asyncio.create_task(group.watch())
        try:
            tasks = [asyncio.create_task(follow(application)) for application in affected]
            try:
                outcomes = list(await asyncio.gather(*tasks))
                await advanced
                return outcomes
            finally:
                for task in tasks:
                    task.cancel()
        finally:
            watch.cancel()


class _Group:
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
        await self._repository.fetch(following.ref, tip, paths=_paths(self._view), name=f"{self._run.source}-next")
        for one in self._running:
            one.superseded = one.changed_by(self._view.id, tip)


@asynccontextmanager
async def _ahead(repository: GitRepository, ref: str, run: Run) -> AsyncIterator[None]:
    """Fetch what the newest push named while the tip is being read: most often it is the tip, and here by then.

    A payload proves nothing, so nothing follows from having it: only the tip is applied. Whatever goes wrong here will
    go wrong again, and be reported, when the tip itself is fetched.
    """
    hint = run.hints[-1].commit if run.hints else ""
    if not hint or repository.has(hint):
        yield
        return
    fetching = asyncio.create_task(repository.fetch(hint if range_of(ref) else ref, hint, name=f"{run.source}-hint"))
    try:
        yield
    finally:
        try:
            await fetching
        except WindlassError as error:
            log.info("hint.not_fetched", commit=hint, reason=str(error))


def _paths(view: SourceView) -> list[str]:
    return sorted({path for application in view.applications for path in paths(view.id, application, {})})


def _ms(start: float, end: float) -> float:
    return round((end - start) * 1000, 2)
