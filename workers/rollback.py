"""Back to a revision that is kept: without Git, by the same plan, writes and guards as any run, and held there.

The hold is written on the parent in the cluster before anything else: whoever is killed after that, the next run goes on. One
that nobody asked for (`sync.rollback: automatic`) follows from a new revision that never became healthy, and its commit says so.
"""

from __future__ import annotations

import asyncio
import time

import structlog
from redis.exceptions import RedisError

from windlass.documents.types import Application
from windlass.errors import PermanentError, WindlassError
from windlass.health import DEGRADED, HEALTHY
from windlass.hold import Hold
from windlass.state import ApplicationState, read_state
from workers.application import ApplicationRun, Outcome
from workers.context import Context
from workers.desired import SourceAt
from workers.kept import KeptRevision
from workers.kube.applyset import ApplySet
from workers.report import Reporter

log = structlog.get_logger(__name__)


class Rollback:
    """Rolls applications back, and releases them."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def kept(self, name: str) -> list[KeptRevision]:
        """What there is to go back to, the newest first.

        :raises PermanentError: nothing is kept, because there is no key.
        """
        if self._context.keeping is None:
            raise PermanentError("WINDLASS_KEEP_KEY_FILE is not set: no rendered sets are kept")
        return await self._context.keeping.kept.revisions(name)

    async def state(self, name: str) -> ApplicationState:
        return await read_state(self._context.redis, name)

    async def healthy_before(self, state: ApplicationState) -> str:
        """The newest kept revision that was seen healthy, other than the one that was tried last.

        :raises PermanentError: there is none.
        """
        healthy = sorted((one for one in await self.kept(state.name) if one.healthy), key=lambda one: -one.healthy)
        found = next((one.revision for one in healthy if one.revision != state.wanted), None)
        if found is None:
            raise PermanentError(f"no earlier revision of {state.name} that was seen healthy is kept")
        return found

    async def to(self, application: Application, hold: Hold) -> Outcome:
        """Hold the application at a kept revision, and make the cluster equal to it, as far as one run gets.

        :raises WindlassError: it can't be begun; nothing holds then.
        """
        assert self._context.keeping is not None
        await self._context.keeping.kept.read(application, hold.revision)
        await self._write_hold(application, hold)
        return await self.go_on(application)

    async def go_on(self, application: Application) -> Outcome:
        """One run of an application that is held."""
        lease = await self._context.leases.acquire("application", application.name)
        try:
            state = await read_state(self._context.redis, application.name)
            run = ApplicationRun(
                self._context,
                application,
                commit=state.wanted,
                trigger="",
                sources=lambda: self._sources(application, state),
                goes_first=lambda _: False,
                event="",
                received=None,
                lease=lease,
                state=state,
            )
            return await run.alone()
        finally:
            await lease.release()

    async def release(self, application: Application) -> None:
        """Nothing holds any more; the next run compares everything with what Git has."""
        await self._write_hold(application, None)
        await self._context.ask_whole(application, "a rollback was released")

    async def _write_hold(self, application: Application, hold: Hold | None) -> None:
        applyset = await self._applyset(application)
        text = hold.dump() if hold is not None else ""
        lease = await self._context.leases.acquire("application", application.name)
        try:
            if await applyset.read() is None and hold is not None:
                raise PermanentError(f"nothing of {application.name} is in the cluster")
            await applyset.hold(text, deadline=lease.remaining)
            await self._context.queue.record(lease, application.name, state={"hold": text})
        finally:
            await lease.release()
        log.info("rollback.held" if hold else "rollback.released", application=application.name, hold=text or None)

    async def _applyset(self, application: Application) -> ApplySet:
        document = self._context.catalog.clusters[application.spec.destination.cluster]
        return (await self._context.clusters.get(document)).applyset(application.name)

    async def _sources(self, application: Application, state: ApplicationState) -> list[SourceAt]:
        """Where they were last; no forge is asked."""
        found = []
        for source in application.spec.sources:
            repository = await self._context.repositories.get(self._context.catalog.repositories[source.repository])
            found.append(SourceAt(source, repository, state.revision_of(source.id) or state.wanted))
        return found


class Automatic:
    """Hears of every change of health: keeps the word healthy with a set, and rolls back what never became it."""

    def __init__(self, context: Context, reporter: Reporter) -> None:
        self._context, self._reporter, self._rollback = context, reporter, Rollback(context)
        self._going_back: dict[str, asyncio.Task[None]] = {}

    async def health_changed(self, name: str) -> None:
        """The application's health is another one."""
        await self._reporter.health_changed(name)
        application = self._context.catalog.applications.get(name)
        if application is None or self._context.keeping is None or name in self._going_back:
            return
        state = await read_state(self._context.redis, name)
        if state.health.status == HEALTHY and not state.attempted and not state.hold:
            await self._context.keeping.kept.mark_healthy(name, state.revision)
        elif self._gave_up(application, state):
            self._going_back[name] = task = asyncio.create_task(self._back(application, state))
            task.add_done_callback(lambda _: self._going_back.pop(name))

    def _gave_up(self, application: Application, state: ApplicationState) -> bool:
        """Is it a new revision, degraded without ever having been healthy?"""
        asked = application.spec.sync.rollback == "automatic"
        return asked and state.health.status == DEGRADED and not state.health.reached and not state.hold

    async def _back(self, application: Application, state: ApplicationState) -> None:
        """:raises nothing: what can't be is said in the log, and the application stays as it is."""
        try:
            revision = await self._rollback.healthy_before(state)
            why = state.health.why or "it did not become healthy"
            hold = Hold(revision, failed=state.wanted, by="automatic", why=why[:300], since=time.time())
            log.warning(
                "rollback.automatic", application=application.name, revision=revision, failed=state.wanted, why=why
            )
            outcome = await self._rollback.to(application, hold)
            while outcome.retry_in is not None:
                await asyncio.sleep(outcome.retry_in)
                outcome = await self._rollback.go_on(application)
            repository = self._context.catalog.repositories[application.source.repository]
            said = outcome._replace(phase="RolledBack", errors=(str(hold),))
            await self._reporter.finished(repository, hold.failed, [said], received=None)
        except (WindlassError, RedisError) as error:
            log.error("rollback.failed", application=application.name, error=str(error))
