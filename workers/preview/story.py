"""The story of a pull request's plan: look at it, fetch both sides, compare each application that it touches, say what follows.

What must hold: the webhook only wakes; which commit, which base, and whether it comes from a fork, the forge's API says. Of each
pull request there is one comment, and each head has one status.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import structlog

from windlass import wire
from windlass.documents.types import Application, Repository
from windlass.errors import PermanentError, WindlassError
from windlass.forges import status as forge_status
from windlass.forges.pulls import PullRequest, PullRequests
from windlass.queue import Run
from windlass.queue.previews import Told, approved_key, forget, parse_preview, remember, remembered
from windlass.queue.seal import approvals
from workers.aiogit import GitRepository
from workers.concurrency import together
from workers.context import Context
from workers.jobs import serve
from workers.preview import words
from workers.preview.plans import MOST_APPLICATIONS, Planned, planned, sources_at, touched
from workers.preview.subject import Subject, subject
from workers.promote.forge import ForgeAccess
from workers.promote.merging import planned as planned_now

log = structlog.get_logger(__name__)
CONTEXT = "windlass/plan"
AT_ONCE = 4
"""Applications of one pull request that are compared at a time."""


class Previewer:
    """The worker's function `preview(job_id, source, generation, digest)`."""

    def __init__(self, context: Context) -> None:
        self._context, self._forge = context, ForgeAccess(context.secrets, context.secret_key)

    async def close(self) -> None:
        await self._forge.close()

    async def preview(self, job_id: str, source: str, generation: int, digest: str) -> dict[str, Any]:
        """Say what the pull request would change now; answers with a summary for the job's result."""
        return await serve(self._context.queue, job_id, source, self._run, self._failed)

    async def _failed(self, run: Run, message: str) -> None:
        """Said in the log and in the source's state."""

    async def _run(self, run: Run) -> dict[str, Any]:
        document, number = self._asked(run)
        pulls = await self._forge.pull_requests(document)
        pull = await pulls.get(number)
        if pull.state == "open":
            outcome = await self._look(run, document, pulls, pull)
        else:
            repository = await self._context.repositories.get(document)
            await forget(self._context.redis, document.name, number)
            for side in ("base", "head"):
                repository.unpin(f"{run.source}-{side}")
            outcome = pull.state
        await self._context.queue.finish(run)
        return {"repository": document.name, "pull": number, "outcome": outcome}

    def _asked(self, run: Run) -> tuple[Repository, int]:
        found = parse_preview(run.source)
        document = self._context.catalog.repositories.get(found[0]) if found else None
        if found is None or document is None or document.spec.pull_requests is None:
            raise PermanentError("no valid Repository of this name is told what its pull requests would change")
        return document, found[1]

    async def _look(self, run: Run, document: Repository, pulls: PullRequests, pull: PullRequest) -> str:
        redis, known = self._context.redis, Told(pull.base, pull.commit, conflicts=True)
        before = (await remembered(redis, document.name)).get(pull.number)
        await remember(redis, document.name, pull.number, known)  # whatever comes of it, the next push may mend it
        if before is None or before.head != pull.commit or not before.verdict:  # else what was said stands meanwhile
            await self._status(document, pull, "pending", "being looked at")
        repository = await self._context.repositories.get(document)
        try:
            found = await subject(repository, document, pull, run.source)
            live = not pull.fork or await self._approved(run, pull)
            ref = f"refs/heads/{pull.base}"
            applications = [one for one, _ in await touched(self._context, repository, document.name, ref, found)]
            told = applications[:MOST_APPLICATIONS]
            plans = await self._plans(
                told, lambda one: self._plan(one, repository, document.name, ref, found, live=live)
            )
        except WindlassError as error:
            await remember(redis, document.name, pull.number, msgspec.structs.replace(known, verdict="error"))
            await self._status(document, pull, "error", str(error))
            raise
        names = tuple(application.name for application in applications)
        known = Told(pull.base, pull.commit, names, conflicts=bool(found.conflicts))
        await remember(redis, document.name, pull.number, known)
        if plans or live is False:
            text = words.comment(plans, found, live=live, more=len(applications) - len(told))
            await pulls.comment(pull, words.MARKER, text)
        state, line = words.status(plans, found)
        await self._status(document, pull, state, line)
        await remember(redis, document.name, pull.number, msgspec.structs.replace(known, verdict=state))
        await planned_now(self._context, document.name)
        log.info("pull.planned", pull=pull.number, head=pull.commit, applications=len(plans), live=live, said=line)
        return line

    async def _plans(
        self, applications: Sequence[Application], plan: Callable[[Application], Awaitable[Planned]]
    ) -> list[Planned]:
        """In the order of the applications, several at a time."""
        made, left = dict[str, Planned](), iter(applications)

        async def work() -> None:
            for application in left:
                made[application.name] = await plan(application)

        await together(AT_ONCE, work)
        return [made[application.name] for application in applications]

    async def _plan(
        self, application: Application, repository: GitRepository, name: str, ref: str, found: Subject, *, live: bool
    ) -> Planned:
        async def at(commit: str) -> Sequence[Any]:
            return await sources_at(self._context, application, repository, name, ref, commit)

        try:
            base = None if live else await at(found.base)
            return await planned(self._context, application, await at(found.merged), base)
        except WindlassError as error:
            return Planned(application.name, application.spec.destination.cluster, None, str(error))

    async def _approved(self, run: Run, pull: PullRequest) -> bool:
        """Did a maintainer allow a look at the cluster, for this very commit?"""
        key = approved_key(run.source)
        said = await self._context.redis.get(key)
        return (
            said is not None and approvals(self._context.secret_key).opened(key, wire.raw(said)) == pull.commit.encode()
        )

    async def _status(self, document: Repository, pull: PullRequest, state: forge_status.State, line: str) -> None:
        api = document.spec.status
        if api is None or api.token is None:
            return
        await forge_status.post_status(
            self._forge.plain,
            document,
            pull.commit,
            state=state,
            context=CONTEXT,
            description=line[: words.LONGEST_DESCRIPTION],
            target_url=self._context.settings.url,
            token=self._context.secrets.resolve(api.token).decode(),
        )
