"""The hooks around an application's deletion: Argo CD's PreDelete and PostDelete, Helm's pre-delete and post-delete.

They are no objects of the cluster: Git holds them, at the commit that was applied. What must hold: none of them is skipped
in silence; one that succeeded isn't run again by whoever repeats a deletion that was cut off, one that failed is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from windlass.documents.types import Application, Source
from windlass.errors import PermanentError
from windlass.queue import Lease
from windlass.state import ApplicationState, RunRecord, Standing, read_state
from workers.aiogit.address import is_object_id
from workers.context import Context
from workers.deletion import Deletion, Tell
from workers.desired import Manifests, SourceAt, desired, everything
from workers.directives import DeletePolicy, Phase
from workers.following import Following
from workers.health.status import Status
from workers.hooks import Hooks
from workers.order import HookRun, Item, Step, hook_steps
from workers.plan import Plan
from workers.planning import Asked, Planner
from workers.rendering import render
from workers.rollout import Rollout
from workers.vouched import vouched
from workers.writes import Progress, Writer

LOOK_SECONDS = 0.5
PHASES = (Phase.PRE_DELETE, Phase.POST_DELETE)


class Hooked(NamedTuple):
    """The hooks that Git names around the deletion, where their manifests are, and which of them a deletion that was cut
    off ran already."""

    revision: str
    items: tuple[Item, ...]
    manifests: Manifests
    ran: list[str]

    def steps(self, phase: Phase) -> tuple[Step, ...]:
        """What is left to do of ``phase``."""
        return hook_steps(self.items, phase, revision=self.revision, ran=frozenset(self.ran))

    def runs(self, phase: Phase) -> list[HookRun]:
        """All of ``phase``, those that ran among them."""
        return [run for step in hook_steps(self.items, phase, revision=self.revision) for run in step.hooks]


async def hooks_of(deletion: Deletion, context: Context) -> Hooked | None:
    """The hooks of the application's deletion, at the commit that was applied; None: it has none, or is deleted
    where its document no longer wants it.

    :raises PermanentError: Git doesn't say all of them. :raises WindlassError: Git can't be read.
    """
    application = deletion.document
    if application is None or deletion.moved:
        return None
    known = await read_state(context.redis, application.name)
    if known.revision and not known.hooked:
        return None  # the last complete run saw all of its manifests, and no hook
    sources = [await _source(context, source, known) for source in application.spec.sources]
    access = deletion.access
    wanted = await desired(sources, lambda at: render(context, access, application, at), everything, context.secret_key)
    asked = Asked(application, known, wanted, sources, False, context.catalog.limits_of(application))
    plan = await Planner(context.redis, access, deletion.applyset, deletion.claims, asked).plan(trusted=True)
    if plan.errors:
        raise PermanentError(f"{len(plan.errors)} of its manifests can't be read: {plan.errors[0]}")
    items = tuple(Item(one, one.sketch.directives, one.sketch.generated) for one in plan.hooks)
    items = tuple(item for item in items if set(PHASES) & set(item.directives.phases))
    revision, standing = sources[0].commit, known.standing
    ran = standing.ran if standing.revision == revision else []
    return Hooked(revision, items, wanted.manifests, list(ran)) if items else None


async def _source(context: Context, source: Source, known: ApplicationState) -> SourceAt:
    document = context.catalog.repositories.get(source.repository)
    if document is None:
        raise PermanentError(f"the Repository {source.repository}, whose commit says what to run, is gone")
    commit = known.revision_of(source.id) or await context.queue.processed(source.id)
    if not commit:
        following = Following(await context.repositories.get(document), source.ref)
        commit = source.ref if is_object_id(source.ref) else await following.tip() or ""
    if not commit:
        raise PermanentError(f"{source.ref} does not exist in the repository")
    return SourceAt(source, await vouched(context, source, commit), commit)


async def delete(context: Context, deletion: Deletion, hooked: Hooked | None, tell: Tell) -> bool:
    """Delete what there is, with its hooks around it. False: something failed, and what would follow it was left; the same
    again goes on."""
    farewell = Farewell(context, deletion, hooked, tell) if hooked else None
    before, after = PHASES
    if farewell and not await farewell.run(before):
        return False
    if not await deletion.run():
        return False
    if farewell:
        if not await farewell.run(after):
            return False
        await farewell.clean_up(after)
    await deletion.forget()
    return True


class Farewell:
    """Runs the hooks of one deletion."""

    def __init__(self, context: Context, deletion: Deletion, hooked: Hooked, tell: Tell) -> None:
        assert deletion.document is not None, "only a document says where hooks are"
        self._context, self._deletion, self._hooked, self._tell = context, deletion, hooked, tell
        self._application: Application = deletion.document

    async def run(self, phase: Phase) -> bool:
        """Run the hooks of ``phase``, wave after wave; False: one failed, and what would follow it was left."""
        for step in self._hooked.steps(phase):
            if not await self._start(step.hooks):
                return False
            if step.healthy and not await self._await([run for run in step.hooks if run.key in step.healthy]):
                return False
        return True

    async def clean_up(self, phase: Phase) -> None:
        """There is no next time before which a hook could be deleted, so what would go then goes now.

        :raises ApiError: the server refused.
        """
        async with self._deletion.held() as lease:
            hooks = Hooks(self._writer(lease), self._hooked.revision)
            for run in self._hooked.runs(phase):
                if {DeletePolicy.BEFORE_CREATION, DeletePolicy.SUCCEEDED} & run.item.directives.delete_policies:
                    await hooks.remove(run)

    async def _start(self, runs: Sequence[HookRun]) -> bool:
        async with self._deletion.held() as lease:
            writer = self._writer(lease)
            await writer.announce([run.item.wanted for run in runs], "")
            hooks = Hooks(writer, self._hooked.revision)
            for run in runs:
                await self._clear(run, hooks, writer)
                if await hooks.start(run):
                    self._tell(f"{run.id}: started")
        return self._told(writer.progress)

    async def _clear(self, run: HookRun, hooks: Hooks, writer: Writer) -> None:
        """A hook that failed the last time is run again, if it may be deleted."""
        (found,) = await self._rollout(writer).look([run.key], frozenset((run.key,)))
        if found.health.status is Status.FAILED and DeletePolicy.BEFORE_CREATION in run.item.directives.delete_policies:
            await hooks.remove(run)

    async def _await(self, runs: Sequence[HookRun]) -> bool:
        """Wait until all of these have ended well."""
        left, end = {run.key: run for run in runs}, time.monotonic() + self._deletion.timeout
        while True:
            async with self._deletion.held() as lease:
                writer = self._writer(lease)
                rollout, hooks = self._rollout(writer), Hooks(writer, self._hooked.revision)
                late = time.monotonic() > end
                for found in await rollout.look(list(left), frozenset(left)):
                    well = found.health.status is Status.CURRENT
                    if well or found.health.status is Status.FAILED:
                        run, why = left.pop(found.key), ""
                        if not well:
                            why = await rollout.reason(run.key) or found.health.message
                            await hooks.failed(run)
                        self._say(run, why)
                        if well:
                            await self._remember(run, lease)
                    elif late:
                        why = await rollout.reason(found.key) or found.health.message
                        why = f"has not ended after {self._deletion.timeout:.0f} s (spec.sync.timeout): {why}"
                        self._say(left.pop(found.key), why)
            if self._deletion.failed or not left:
                return not self._deletion.failed
            await asyncio.sleep(LOOK_SECONDS)

    def _say(self, run: HookRun, why: str) -> None:
        self._tell(f"{run.id}: {why or 'succeeded'}", err=bool(why))
        self._deletion.failed += bool(why)

    async def _remember(self, run: HookRun, lease: Lease) -> None:
        self._hooked.ran.append(run.id)
        standing = Standing(revision=self._hooked.revision, ran=self._hooked.ran)
        fields = {"standing": msgspec.json.encode(standing).decode()}
        await self._context.queue.record(lease, self._application.name, state=fields)

    def _told(self, progress: Progress) -> bool:
        for error in progress.errors:
            self._tell(str(error), err=True)
        self._deletion.failed += len(progress.errors)
        return not progress.errors

    def _rollout(self, writer: Writer) -> Rollout:
        rules = self._context.health_rules(self._application)
        return Rollout(writer, Plan(), Standing(), rules=rules, hooked="", parent="")

    def _writer(self, lease: Lease) -> Writer:
        record = RunRecord(event="", revision=self._hooked.revision, phase="Deleting", started=time.time())
        return Writer(
            self._context,
            self._application,
            progress=Progress(record),
            cluster=self._deletion.access,
            lease=lease,
            manifests=self._hooked.manifests,
            claims=self._deletion.claims,
            give_way=_nothing,
            save=_saved,
        )


def _nothing() -> None:
    """Nobody goes before a person who deletes."""


async def _saved() -> None:
    """A hook is no part of the inventory."""
