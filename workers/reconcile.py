"""The story of a push: read the tip, fetch it, see which applications it touches, make the cluster equal, report.

One job serves one source (repository and ref). It is level-triggered: it carries no commit, and looks at what is there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog

from windlass import metrics
from windlass.documents.catalog import SourceView
from windlass.documents.types import Application
from windlass.errors import WindlassError
from windlass.queue import Run
from windlass.semver import range_of
from windlass.state import read_states
from workers.aiogit import Fetched, GitRepository
from workers.aiogit.address import is_object_id
from workers.application import Outcome, document_digest
from workers.context import Context
from workers.followed import Followed, load_inputs, paths, same
from workers.following import Following
from workers.group import Group, looked_at
from workers.jobs import serve
from workers.preview.again import base_moved
from workers.report import Reporter
from workers.signed import require_signed
from workers.tip import believed_tip
from workers.viewing import view_of

log = structlog.get_logger(__name__)


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
        fetched = await repository.fetch(following.ref, tip, paths=looked_at(view), name=run.source)
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
        group = Group(self._context, run, view, repository, affected, advanced)
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


def _ms(start: float, end: float) -> float:
    return round((end - start) * 1000, 2)
