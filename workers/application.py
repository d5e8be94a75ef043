"""One application's run: render, plan, apply, prune, record. `workers.reconcile` tells when.

What must hold: what Git no longer names is deleted only after everything it names was applied, and never because of an
error; each object's hash is recorded as it is applied, so that whoever comes next continues here.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import msgspec
import structlog

from windlass.documents.types import Application
from windlass.errors import LeaseLostError, PermanentError, SupersededError, TransientError
from windlass.queue import Lease
from windlass.state import ApplicationState, RunRecord
from workers.aiogit import Change, GitRepository
from workers.cluster import ClusterAccess
from workers.concurrency import together
from workers.context import Context
from workers.inventory import Claims, read_entries
from workers.kube.apply import Applier
from workers.kube.applyset import ApplySet, Member
from workers.kube.errors import ApiError
from workers.kube.keys import ObjectKey
from workers.plan import Entry, Leaving, ObjectError, Plan, Sketch, Wanted, body, plan, resolve
from workers.render.plain import is_manifest
from workers.render.tree import ManifestReader, Rendered, render
from workers.tip import PATIENCE

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 12
"""Runs in a row that fail on one commit before it is left to the next one."""
FIRST_RETRY, LONGEST_RETRY = 1.0, 300.0
MAX_YIELDS = 3
"""After so many runs in a row that gave way to a newer commit, one is finished: nobody starves."""
RECORD_EVERY = 200
"""Objects applied between two records of progress."""
ATTEMPTS_REMEMBERED = 10
"""Commits tried since the last complete one whose trees are looked at again; beyond that, the cluster is asked."""


class Outcome(NamedTuple):
    """What a run came to: for the source's next look, and for the commit's status."""

    application: str
    cluster: str
    phase: str
    errors: tuple[str, ...]
    retry_in: float | None
    seconds: float


def document_digest(application: Application) -> str:
    """Two documents with this digest ask for the same objects in the same place."""
    return hashlib.sha256(msgspec.json.encode(application, order="deterministic")).hexdigest()[:16]


class ApplicationRun:
    """One run of ``application`` towards ``commit``, under ``lease``."""

    def __init__(
        self,
        context: Context,
        application: Application,
        *,
        commit: str,
        event: str,
        received: float | None,
        repository: GitRepository,
        lease: Lease,
        state: ApplicationState,
    ) -> None:
        self.application, self.commit, self.repository = application, commit, repository
        self.state, self.superseded = state, False
        self._context, self._lease = context, lease
        self._cluster: ClusterAccess
        self._applyset: ApplySet
        self._reader = ManifestReader(repository)
        self._record = RunRecord(event=event, revision=commit, phase="Syncing", started=time.time(), received=received)
        self._errors: list[ObjectError] = []
        self._done: dict[str, bytes] = {}
        self._gone: list[str] = []
        self._finished = False
        self._plan = Plan((), {}, (), (), 0)
        self._claims = Claims(
            context.redis,
            application.spec.destination.cluster,
            application.name,
            yielding=_Yielding(context, application),
        )

    @property
    def leaving(self) -> bool:
        return bool(self._plan.leaving)

    @property
    def may_yield(self) -> bool:
        return self.state.yields < MAX_YIELDS

    def changed_by(self, commit: str) -> bool:
        """Does ``commit`` hold other inputs of this application than the commit of this run?"""
        path = self.application.source.path
        return self.repository.tree_id(commit, path) != self.repository.tree_id(self.commit, path)

    # -- render and plan ------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Read what changed, compare it with what was applied, and let go of what other applications may now want."""
        document = self._context.catalog.clusters[self.application.spec.destination.cluster]
        self._cluster = await self._context.clusters.get(document)
        self._applyset = self._cluster.applyset(self.application.name)
        with self._timed("render"):
            changes = self._changes()
            rendered = await render(
                self._all_files() if changes is None else changes, self._reader, self._context.secret_key
            )
        with self._timed("plan"):
            await self._discover(rendered)
            if changes is None:
                await self._plan_whole(rendered)
            else:
                await self._plan_changes(rendered)
        self._errors += rendered.errors
        self._errors += self._plan.errors
        self._record.unchanged = self._plan.unchanged
        await self._claims.release(str(item.key) for item in self._plan.leaving)

    def _changes(self) -> list[Change] | None:
        """The files that differ from those last applied; None: the cluster must be asked what is there."""
        state, path = self.state, self.application.source.path
        if not state.revision or state.document != document_digest(self.application) or state.whole:
            return None
        bases = [state.revision, *state.attempted]
        if len(bases) > ATTEMPTS_REMEMBERED or not all(map(self.repository.has, bases)):
            return None
        changes: dict[tuple[str, str | None], Change] = {}
        for base in bases:
            for change in self.repository.diff(base, self.commit, path):
                changes[change.path, change.old] = change
        return list(changes.values())

    def _all_files(self) -> list[Change]:
        return self.repository.diff(None, self.commit, self.application.source.path)

    async def _discover(self, rendered: Rendered) -> None:
        """Learn, once each, how the cluster names the kinds at hand (most often from memory)."""
        self._defined = {
            (group, kind): scoped for group, kind, scoped in filter(None, (s.defines for s in rendered.wanted))
        }
        self._scopes: dict[tuple[str, str], bool | None] = {}
        for api_version, kind in {(s.api_version, s.kind) for s in (*rendered.wanted, *rendered.before)}:
            resource = await self._cluster.discovery.resource(api_version, kind)
            group = api_version.rpartition("/")[0]
            self._scopes[api_version, kind] = resource.namespaced if resource else self._defined.get((group, kind))

    def _scope(self, api_version: str, kind: str) -> bool | None:
        return self._scopes.get((api_version, kind))

    async def _plan_changes(self, rendered: Rendered) -> None:
        wanted, destination = _once(rendered.wanted), self.application.spec.destination
        named = {str(key) for s in (*wanted, *rendered.before) if isinstance(key := self._key(s), ObjectKey)}
        entries = await read_entries(self._context.redis, self.application.name, sorted(named))
        self._plan = plan(
            wanted,
            rendered.before,
            entries,
            scope=self._scope,
            namespace=destination.namespace,
            changed_files=rendered.files,
        )
        if self._plan.leaving and not wanted and not rendered.errors:
            await self._refuse_empty(len(self._plan.leaving))

    async def _plan_whole(self, rendered: Rendered) -> None:
        """Everything that Git wants against everything that the cluster says is ours: no copy of the inventory is believed."""
        wanted = _once(rendered.wanted)
        members, unlisted = await self._applyset.members(self._cluster.discovery)
        self._refuse_rewind()
        ours = {str(member.key): member for member in members if member.ours}
        known = await read_entries(self._context.redis, self.application.name, sorted(ours))
        self._plan = plan(
            wanted,
            (),
            {name: Entry(member.hash, member.fields, "") for name, member in ours.items()},
            scope=self._scope,
            namespace=self.application.spec.destination.namespace,
            changed_files=None,
            stale=frozenset(name for name, member in ours.items() if self._drifted(member, known.get(name))),
        )
        for group_kind, reason in unlisted.items():
            self._errors.append(
                ObjectError(group_kind, "", 0, f"can't be listed, so nothing of it is pruned: {reason}", retry=True)
            )
        named = {str(key) for s in wanted if isinstance(key := self._key(s), ObjectKey)}
        gone = tuple(Leaving(m.key, m.api_version) for name, m in ours.items() if name not in named)
        self._plan = self._plan._replace(leaving=gone)
        if not wanted and not rendered.errors:
            await self._refuse_empty(len(gone))

    def _refuse_rewind(self) -> None:
        """Redis forgot what is applied, the cluster did not: an older tip that no push named is not believed at once.

        :raises TransientError: it is looked at again; what is the tip still, `PATIENCE` seconds later, is believed.
        """
        applied, last = self._applyset.revision, self.state.last
        if self._record.event or applied in ("", self.commit) or not self.repository.has(applied):
            return
        if not self.repository.is_ancestor(self.commit, applied):
            return
        seen_before = last is not None and last.revision == self.commit and time.time() - last.started >= PATIENCE
        if not seen_before:
            raise TransientError(f"the tip is older than {applied[:10]}, which is applied: waiting whether it stays so")

    def _drifted(self, member: Member, known: Entry | None) -> bool:
        """Was the object changed behind our back? By a person's tool, or in the fields that we own."""
        if any(map(self._cluster.is_human, member.managers)):
            return True
        return known is not None and known.hash == member.hash and bool(known.fields) and known.fields != member.fields

    async def _refuse_empty(self, leaving: int) -> None:
        """An empty render is a mistake more often than a wish: it is an error, and deletes nothing."""
        if any(is_manifest(change.path) for change in self._all_files()) and leaving < max(self.state.objects, 1):
            return
        path = self.application.source.path or "/"
        message = f"no manifests in {path} at {self.commit[:10]}: nothing is applied and nothing is pruned"
        self._errors.append(ObjectError("", path, 0, message))
        self._plan = self._plan._replace(leaving=())

    def _key(self, item: Sketch) -> ObjectKey | ObjectError:
        return resolve(item, self._scope, self.application.spec.destination.namespace)

    # -- apply ----------------------------------------------------------------------------------------------------

    async def apply(self) -> None:
        """Write what changed, stage after stage; within a stage all at once, as fast as the cluster takes it."""
        with self._timed("apply"):
            if not self._plan.writes:
                return
            await self._claim()
            await self._applyset.ensure(
                self._group_kinds(),
                self._namespaces(),
                revision=self.commit,
                deadline=self._lease.remaining,
                version=self.state.parent or None,
            )
            applier = Applier(
                self._cluster.client,
                self.application.name,
                self._applyset.id,
                force=self.application.spec.sync.force,
                may_take=self._may_take,
            )
            for stage in self._plan.stages:
                await self._apply_stage(applier, stage)

    async def _claim(self) -> None:
        """Objects that are new to this application are claimed; what another one wants is an error, and left alone."""
        new = [str(wanted.key) for stage in self._plan.stages for wanted in stage if wanted.previous is None]
        refused = await self._claims.take(new)
        if not refused:
            return
        for stage in self._plan.stages:
            for wanted in stage:
                if holder := refused.get(str(wanted.key)):
                    self._fail(wanted, f"application {holder} wants this object too", retry=True)
        self._plan = self._plan._replace(
            stages=tuple(tuple(w for w in stage if str(w.key) not in refused) for stage in self._plan.stages)
        )

    async def _apply_stage(self, applier: Applier, stage: Sequence[Wanted]) -> None:
        queue = iter(stage)
        width = min(len(stage), self._cluster.limiter.maximum)
        await together(width, lambda: self._apply_each(applier, queue))
        for wanted in stage:
            if wanted.sketch.defines and str(wanted.key) in self._done:
                await self._cluster.established(wanted.key.name)

    async def _apply_each(self, applier: Applier, queue: Iterator[Wanted]) -> None:
        for wanted in queue:
            self._give_way()
            async with self._cluster.limiter:
                await self._apply_one(applier, wanted)
            if len(self._done) >= RECORD_EVERY:
                await self._save_progress()

    async def _apply_one(self, applier: Applier, wanted: Wanted) -> None:
        resource = await self._cluster.discovery.resource(wanted.sketch.api_version, wanted.sketch.kind)
        if resource is None:
            self._fail(
                wanted, f"the cluster has no kind {wanted.sketch.kind} in {wanted.sketch.api_version}", retry=True
            )
            return
        previous = self._reader.manifest(wanted.previous) if wanted.previous else None
        try:
            applied = await applier.apply(
                resource,
                body(self._reader.manifest(wanted.sketch), wanted.key),
                digest=wanted.sketch.hash,
                previous=body(previous, wanted.key) if previous else None,
                deadline=self._lease.remaining,
            )
        except ApiError as error:
            if error.missing:
                self._cluster.discovery.forget(resource)
            self._fail(wanted, str(error), retry=error.retryable)
            return
        self._record.applied += 1
        self._record.taken += applied.took
        self._done[str(wanted.key)] = Entry(wanted.sketch.hash, applied.fields, wanted.sketch.file).dump()

    def _fail(self, wanted: Wanted, message: str, *, retry: bool) -> None:
        self._errors.append(ObjectError(str(wanted.key), wanted.sketch.file, wanted.sketch.line, message, retry))

    def _give_way(self) -> None:
        """The safe point: between two objects' writes."""
        if self.superseded and self.may_yield:
            raise SupersededError("a newer commit changes this application")

    async def _may_take(self, other: str, key: ObjectKey) -> bool:
        """May an object be taken from the application ``other``? If it was released to us, or we adopt all that it has."""
        if other == self.application.spec.adopts:
            return True
        if other not in self._context.catalog.applications or not await self._context.has_inventory(other):
            return False
        return (await self._claims.holders([str(key)])).get(str(key)) == self.application.name

    def _group_kinds(self) -> set[str]:
        return {w.key.group_kind for stage in self._plan.stages for w in stage}

    def _namespaces(self) -> set[str]:
        return {w.key.namespace for stage in self._plan.stages for w in stage if w.key.namespace}

    # -- prune ----------------------------------------------------------------------------------------------------

    async def prune(self, still_newest: Callable[[ApplicationRun], Awaitable[bool]]) -> None:
        """Delete what left, last of all: only if nothing went wrong, and nothing newer is known."""
        if not self._plan.leaving or self._errors:
            return
        if not self.application.spec.sync.prune:
            self._record.kept += [str(item.key) for item in self._plan.leaving]
            return
        if not await still_newest(self) and self.may_yield:
            raise SupersededError("a newer commit changes this application")
        with self._timed("prune"):
            holders = await self._claims.holders([str(item.key) for item in self._plan.leaving])
            queue = iter(self._plan.leaving)
            width = min(len(self._plan.leaving), self._cluster.limiter.maximum)
            await together(width, lambda: self._prune_each(queue, holders))
            if not self._errors:
                await self._narrow()

    async def _prune_each(self, queue: Iterator[Leaving], holders: dict[str, str]) -> None:
        for item in queue:
            name = str(item.key)
            holder = holders.get(name)
            if holder and holder != self.application.name and holder in self._context.catalog.applications:
                self._gone.append(name)  # handed over: the other application relabels it
                continue
            async with self._cluster.limiter:
                await self._prune_one(item)

    async def _prune_one(self, item: Leaving) -> None:
        name = str(item.key)
        try:
            result = await self._cluster.prune(
                item.key, item.api_version, self.application.name, self._applyset.id, deadline=self._lease.remaining
            )
        except ApiError as error:
            self._errors.append(ObjectError(name, "", 0, f"prune: {error}", retry=error.retryable))
            return
        self._gone.append(name)
        if result == "kept":
            self._record.kept.append(name)
        elif result == "deleted":
            self._record.pruned += 1

    async def _narrow(self) -> None:
        """After a complete prune the parent may name fewer kinds; only a whole look at the cluster tells which."""
        if self._record.kept:
            return
        await self._applyset.narrow_after_prune(
            {item.key.group_kind for item in self._plan.leaving},
            self._cluster.discovery,
            deadline=self._lease.remaining,
        )

    # -- record ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            took = (time.perf_counter() - start) * 1000
            self._record.durations[step] = round(self._record.durations.get(step, 0.0) + took, 2)

    def note(self, *, fetch: str, durations: dict[str, float]) -> None:
        """What the source's job did for all of its applications."""
        self._record.fetch = fetch
        self._record.durations.update(durations)

    def fail(self, error: BaseException) -> None:
        """An error of the whole run, not of one object."""
        if isinstance(error, SupersededError):
            self._record.phase = "Superseded"
            return
        retry = not isinstance(error, PermanentError) and getattr(error, "retryable", True)
        self._errors.append(ObjectError("", self.application.name, 0, str(error) or type(error).__name__, retry=retry))

    async def finish(self) -> Outcome:
        """Record what came of it, under the lease: a run that lost it records nothing.

        :raises LeaseLostError: somebody else holds this application now.
        """
        superseded = self._record.phase == "Superseded"
        retry_in = self._retry_in()
        phase = "Syncing" if superseded else "Synced" if not self._errors else "Retrying" if retry_in else "Failed"
        self._record.phase = "Superseded" if superseded else phase
        self._record.errors = [str(error) for error in self._errors[:100]]
        seconds = time.time() - self._record.started
        self._record.durations["total"] = round(seconds * 1000, 2)
        complete = not self._errors and not superseded
        await self._save(phase, complete=complete)
        log.info(
            "application.reconciled",
            application=self.application.name,
            revision=self.commit,
            phase=self._record.phase,
            applied=self._record.applied,
            pruned=self._record.pruned,
            unchanged=self._record.unchanged,
            errors=self._record.errors[:5],
            durations=self._record.durations,
        )
        return Outcome(
            self.application.name,
            self.application.spec.destination.cluster,
            self._record.phase,
            tuple(self._record.errors),
            0.0 if superseded else retry_in,
            seconds,
        )

    def _retry_in(self) -> float | None:
        """Seconds until the failed objects are tried again; None: only a new commit can help, or nothing failed."""
        if not any(error.retry for error in self._errors) or self._attempts() > MAX_ATTEMPTS:
            return None
        return float(min(FIRST_RETRY * 2 ** (self._attempts() - 1), LONGEST_RETRY))

    def _attempts(self) -> int:
        return self.state.attempts + 1 if self.state.wanted == self.commit else 1

    async def _save(self, phase: str, *, complete: bool) -> None:
        self._done.update({name: entry.dump() for name, entry in self._plan.moved.items()})
        attempted = () if complete else (*dict.fromkeys((*self.state.attempted, self.commit)),)
        fields = {
            "phase": phase,
            "wanted": self.commit,
            "source": self.application.source.id,
            "parent": self._applyset.version if hasattr(self, "_applyset") else self.state.parent,
            "attempted": " ".join(attempted),
            "attempts": "0" if complete else str(self._attempts()),
            "yields": str(self.state.yields + 1) if self._record.phase == "Superseded" else "0",
            "last": msgspec.json.encode(self._record).decode(),
        }
        if complete:
            fields |= {"revision": self.commit, "document": document_digest(self.application), "whole": ""}
        await self._context.queue.record(
            self._lease,
            self.application.name,
            state=fields,
            set_objects=self._done,
            drop_objects=self._gone,
            history=msgspec.json.encode(self._record),
            clean=self.application.source.id if complete else None,
        )

    async def _save_progress(self) -> None:
        done, self._done = self._done, {}
        await self._context.queue.record(self._lease, self.application.name, state={}, set_objects=done)
        if self._lease.lost:
            raise LeaseLostError(f"application {self.application.name} is somebody else's now")


class _Yielding:
    """The applications whose claims count for nothing here: the adopted one, and those without a document."""

    def __init__(self, context: Context, application: Application) -> None:
        self._context, self._adopts = context, application.spec.adopts

    def __contains__(self, name: object) -> bool:
        return name == self._adopts or name not in self._context.catalog.applications


def _once(sketches: Sequence[Sketch]) -> list[Sketch]:
    """A file that differs from several commits is read for each of them: its manifests count once."""
    return list({(s.file, s.place): s for s in sketches}.values())
