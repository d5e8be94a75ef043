"""The story of a pipeline: read the branch's tip, see whether it concerns the image, build it, publish it, and say so.

What must hold: a push builds once, however often it is delivered, and the newest one waits for no older one that waits; what a
builder gets is the commit's files and the registry's credentials; the image is told of as any registry's own event would.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pygit2
import structlog

from windlass.documents import ordering
from windlass.documents.pipelines import PipelineView
from windlass.errors import PermanentError, WindlassError
from windlass.events import ImagePublished
from windlass.forges import status as forge_status
from windlass.queue import Run
from windlass.queue.promotions import Noted, note, seal_of
from windlass.registries.names import image_name
from windlass.tag_policy import Policy
from workers.aiogit import GitRepository
from workers.build import tools
from workers.build.image import Built, Wish, build
from workers.context import Context
from workers.followed import same
from workers.jobs import serve
from workers.pipeline.logs import Log
from workers.pipeline.registry import environment, secrets
from workers.promote.forge import ForgeAccess
from workers.signed import require_signed
from workers.viewing import view_of

log = structlog.get_logger(__name__)
AT_ONCE = 2
"""Builds of one worker; what else waits, waits in the queue's order."""
LONGEST_DESCRIPTION = 140


class Pipelines:
    """The worker's function `build(job_id, source, generation, digest)`."""

    def __init__(self, context: Context) -> None:
        self._context, self._forge, self._turns = (
            context,
            ForgeAccess(context.secrets, context.secret_key),
            asyncio.Semaphore(AT_ONCE),
        )

    async def close(self) -> None:
        await self._forge.close()

    async def build(self, job_id: str, source: str, generation: int, digest: str) -> dict[str, Any]:
        """Build the branch's tip, if it is to be built; answers with a summary for the job's result."""
        return await serve(self._context.queue, job_id, source, lambda run: self._run(run, digest), _recorded)

    async def _run(self, run: Run, digest: str) -> dict[str, Any]:
        view = await view_of(self._context, lambda catalog: catalog.pipelines, run.source, digest)
        if view is None:
            raise PermanentError("there is no valid Pipeline of this name")
        repository = await self._context.repositories.get(view.repository)
        tip = (await repository.refs(view.ref)).get(view.ref)
        if tip is None:
            raise PermanentError(f"{view.repository.name}: there is no branch {view.pipeline.spec.source.branch}")
        if tip == run.processed and run.documents == view.digest:
            return await self._done(run, view, tip, "nothing new")
        await repository.fetch(view.ref, tip, name=run.source)
        if not _concerned(repository, view, run, tip):
            return await self._done(run, view, tip, "no file of it changed")
        async with self._turns:
            built = await self._build(view, repository, tip)
        noted = self._noted(view, built)
        if noted:
            seal = seal_of(self._context.secret_key)
            await note(self._context.queue, noted, seal=seal, event=run.source, delivery="", received_at=time.time())
        return await self._done(run, view, tip, f"{built.reference}@{built.digest}")

    async def _done(self, run: Run, view: PipelineView, tip: str, outcome: str) -> dict[str, Any]:
        await self._context.queue.advance(run, commit=tip, documents=view.digest, dirty=[])
        await self._context.queue.finish(run)
        return {"pipeline": view.pipeline.name, "commit": tip, "outcome": outcome}

    async def _build(self, view: PipelineView, repository: GitRepository, tip: str) -> Built:
        spec, started = view.pipeline.spec, time.monotonic()
        credentials = self._context.secrets.resolve(spec.credentials) if spec.credentials is not None else None
        wish = Wish(
            image=spec.image,
            revision=tip,
            context=spec.context,
            dockerfile=spec.dockerfile or str(Path(spec.context, "Dockerfile")),
            arguments=spec.arguments,
            target=spec.target,
            platform=spec.platform,
            source=view.repository.spec.url,
            insecure=spec.insecure,
            trusted=spec.trusted,
            seconds=ordering.timeout(spec.timeout),
        )
        await self._status(view, tip, "pending", "being built")
        try:
            await require_signed(
                repository,
                view.repository,
                self._context.secrets,
                source=f"pipeline-{view.pipeline.name}",
                ref=view.ref,
                commit=tip,
                applied="",
            )
            with tempfile.TemporaryDirectory(prefix="windlass-pipeline-") as home:
                async with Log(self._context.redis, view.pipeline.name, secrets(credentials)).open() as told:
                    told.say(f"{spec.image} of {tip}")
                    store = pygit2.Repository(str(repository.directory))
                    variables = environment(Path(home), credentials)
                    built = await build(store, wish, tools.find(), tell=told.say, environment=variables)
                    told.say(f"published {built.reference}@{built.digest}")
        except WindlassError as error:
            await self._status(view, tip, "failure" if isinstance(error, PermanentError) else "error", str(error))
            raise
        seconds = time.monotonic() - started
        say = log.bind(pipeline=view.pipeline.name, commit=tip, tag=built.tag, digest=built.digest)
        say.info("pipeline.built", seconds=round(seconds, 2))
        await self._status(view, tip, "success", f"{built.tag} published after {seconds:.0f} s")
        return built

    def _noted(self, view: PipelineView, built: Built) -> Sequence[Noted]:
        """The promotions that follow the image and accept its tag."""
        name = image_name(built.image)
        assert name is not None, "the documents' rules hold"
        published = ImagePublished(name, built.tag, built.digest, built.commit, view.repository.spec.url, time.time())
        return [
            Noted(one.promotion.name, one.digest, published)
            for one in self._context.catalog.promotions.values()
            if image_name(one.promotion.spec.image) == name and Policy(one.promotion.spec.policy).accepts(built.tag)
        ]

    async def _status(self, view: PipelineView, commit: str, state: forge_status.State, line: str) -> None:
        """What a build came to is said on its commit; that it can't be said fails no build."""
        api = view.repository.spec.status
        if api is None or api.token is None:
            return
        try:
            await forge_status.post_status(
                self._forge.plain,
                view.repository,
                commit,
                state=state,
                context=f"windlass/build/{view.pipeline.name}",
                description=" ".join(line.split())[:LONGEST_DESCRIPTION],
                target_url=self._context.settings.url,
                token=self._context.secrets.resolve(api.token).decode(),
            )
        except WindlassError as error:
            log.warning("status.failed", pipeline=view.pipeline.name, commit=commit, error=str(error))


async def _recorded(run: Run, message: str) -> None:
    """The source's state and the commit's status say it."""


def _concerned(repository: GitRepository, view: PipelineView, run: Run, tip: str) -> bool:
    """Does the push change anything that the image is made of, or is it not known what was built last?"""
    paths = view.pipeline.spec.source.paths
    known = bool(paths) and run.documents == view.digest and run.processed and repository.has(run.processed)
    return not known or not same(repository, run.processed, tip, paths)
