"""An application's writes to the cluster: apply what changed, stage after stage, then prune what left.

What must hold: between two objects' writes a run may give way; what another application wants is left to it; every object's
hash is noted as it is applied; deletion comes last, and not at all after an error.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from windlass.documents.accounts import account_of
from windlass.documents.types import Application, Limits
from windlass.queue import Lease
from windlass.state import RunRecord
from workers.cluster import ClusterAccess
from workers.concurrency import together
from workers.context import Context
from workers.desired import Manifests
from workers.inventory import Claims
from workers.kube.apply import Applier
from workers.kube.applyset import ApplySet
from workers.kube.errors import ApiError, ConflictError
from workers.kube.keys import ObjectKey
from workers.plan import Entry, Leaving, ObjectError, Plan, Wanted, body, outside

RECORD_EVERY = 200
"""Objects applied between two records of progress."""


class Progress:
    """What a run has come to so far."""

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.errors: list[ObjectError] = []
        self.done: dict[str, bytes] = {}  # inventory entries that are not recorded yet
        self.gone: list[str] = []

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            took = (time.perf_counter() - start) * 1000
            self.record.durations[step] = round(self.record.durations.get(step, 0.0) + took, 2)


class Writer:
    """The writes of one run, by its plan."""

    def __init__(
        self,
        context: Context,
        application: Application,
        plan: Plan,
        *,
        progress: Progress,
        cluster: ClusterAccess,
        lease: Lease,
        limits: Sequence[Limits],
        manifests: Manifests,
        claims: Claims,
        parent: str,
        give_way: Callable[[], None],
        save: Callable[[], Awaitable[None]],
    ) -> None:
        """``parent`` is the ApplySet parent's version as the last run left it; ``give_way`` raises if a newer commit is
        to go first; ``save`` records the progress."""
        self.application, self.plan = application, plan
        self._context, self._progress, self._cluster, self._lease = context, progress, cluster, lease
        self._manifests, self._claims, self._parent = manifests, claims, parent
        self._give_way, self._save, self._limits = give_way, save, limits
        self._applyset: ApplySet = cluster.applyset(application.name)
        self._account = account_of(application.spec.destination, context.settings.default_service_account)

    async def apply(self) -> None:
        """Write what changed, stage after stage; within a stage all at once, as fast as the cluster takes it."""
        with self._progress.timed("apply"):
            if not self.plan.writes:
                return
            await self._claim()
            await self._applyset.ensure(
                self._group_kinds(),
                self._namespaces(),
                revision=self._progress.record.revision,
                deadline=self._lease.remaining,
                version=self._parent or None,
            )
            applier = Applier(
                self._cluster.members(self._account),
                self.application.name,
                self._applyset.id,
                force=self.application.spec.sync.force,
                may_take=self._may_take,
            )
            for stage in self.plan.stages:
                await self._apply_stage(applier, stage)

    async def _claim(self) -> None:
        """Objects that are new to this application are claimed; what another one wants is an error, and left alone."""
        new = [str(wanted.key) for stage in self.plan.stages for wanted in stage if wanted.previous is None]
        refused = await self._claims.take(new)
        if not refused:
            return
        for stage in self.plan.stages:
            for wanted in stage:
                if holder := refused.get(str(wanted.key)):
                    self._fail(wanted, f"application {holder} wants this object too", retry=True)
        self.plan = self.plan._replace(
            stages=tuple(tuple(w for w in stage if str(w.key) not in refused) for stage in self.plan.stages)
        )

    async def _apply_stage(self, applier: Applier, stage: Sequence[Wanted]) -> None:
        queue = iter(stage)
        width = min(len(stage), self._cluster.limiter.maximum)
        await together(width, lambda: self._apply_each(applier, queue))
        for wanted in stage:
            if wanted.sketch.defines and str(wanted.key) in self._progress.done:
                await self._cluster.established(wanted.key.name)

    async def _apply_each(self, applier: Applier, queue: Iterator[Wanted]) -> None:
        for wanted in queue:
            self._give_way()
            async with self._cluster.limiter:
                await self._apply_one(applier, wanted)
            if len(self._progress.done) >= RECORD_EVERY:
                await self._save()

    async def _apply_one(self, applier: Applier, wanted: Wanted) -> None:
        resource = await self._cluster.discovery.resource(wanted.sketch.api_version, wanted.sketch.kind)
        if resource is None:
            self._fail(
                wanted, f"the cluster has no kind {wanted.sketch.kind} in {wanted.sketch.api_version}", retry=True
            )
            return
        previous = self._manifests.manifest(wanted.previous) if wanted.previous else None
        try:
            applied = await applier.apply(
                resource,
                body(self._manifests.manifest(wanted.sketch), wanted.key),
                digest=wanted.sketch.hash,
                previous=body(previous, wanted.key) if previous else None,
                deadline=self._lease.remaining,
            )
        except ApiError as error:
            if error.missing:
                self._cluster.discovery.forget(resource)
            if error.forbidden or (isinstance(error, ConflictError) and error.application):
                # Not this application's, so whoever may have it need not wait. (A name alone must keep no tenant out.)
                await self._claims.release([str(wanted.key)])
            self._fail(wanted, str(error), retry=error.retryable)
            return
        self._progress.record.applied += 1
        self._progress.record.taken += applied.took
        self._progress.done[str(wanted.key)] = Entry(wanted.sketch.hash, applied.fields, wanted.sketch.file).dump()

    def _fail(self, wanted: Wanted, message: str, *, retry: bool) -> None:
        self._progress.errors.append(
            ObjectError(str(wanted.key), wanted.sketch.file, wanted.sketch.line, message, retry)
        )

    async def _may_take(self, other: str, key: ObjectKey) -> bool:
        """May an object be taken from the application ``other``? If it was released to us, or we adopt all that it has."""
        if other == self.application.spec.adopts:
            return True
        if other not in self._context.catalog.applications or not await self._context.has_inventory(other):
            return False
        return (await self._claims.holders([str(key)])).get(str(key)) == self.application.name

    def _group_kinds(self) -> set[str]:
        return {w.key.group_kind for stage in self.plan.stages for w in stage}

    def _namespaces(self) -> set[str]:
        return {w.key.namespace for stage in self.plan.stages for w in stage if w.key.namespace}

    # -- prune ----------------------------------------------------------------------------------------------------

    async def prune(self, last_look: Callable[[], Awaitable[None]]) -> None:
        """Delete what left, last of all: only if nothing went wrong, and nothing newer is known.

        :raises SupersededError: by ``last_look``.
        """
        if not self.plan.leaving or self._progress.errors:
            return
        if not self.application.spec.sync.prune:
            self._progress.record.kept += [str(item.key) for item in self.plan.leaving]
            return
        await last_look()
        with self._progress.timed("prune"):
            holders = await self._claims.holders([str(item.key) for item in self.plan.leaving])
            queue = iter(self.plan.leaving)
            width = min(len(self.plan.leaving), self._cluster.limiter.maximum)
            await together(width, lambda: self._prune_each(queue, holders))
            if not self._progress.errors:
                await self._narrow()

    async def _prune_each(self, queue: Iterator[Leaving], holders: dict[str, str]) -> None:
        for item in queue:
            name = str(item.key)
            holder = holders.get(name)
            if holder and holder != self.application.name and holder in self._context.catalog.applications:
                self._progress.gone.append(name)  # handed over: the other application relabels it
                continue
            async with self._cluster.limiter:
                await self._prune_one(item)

    async def _prune_one(self, item: Leaving) -> None:
        name = str(item.key)
        if outside(self._limits, item.key):  # applied before there were these limits: no longer ours to delete
            self._progress.record.kept.append(name)
            self._progress.gone.append(name)
            return
        try:
            result = await self._cluster.prune(
                item.key,
                item.api_version,
                self.application.name,
                self._applyset.id,
                account=self._account,
                deadline=self._lease.remaining,
            )
        except ApiError as error:
            self._progress.errors.append(ObjectError(name, "", 0, f"prune: {error}", retry=error.retryable))
            return
        self._progress.gone.append(name)
        if result == "kept":
            self._progress.record.kept.append(name)
        elif result == "deleted":
            self._progress.record.pruned += 1

    async def _narrow(self) -> None:
        """After a complete prune the parent may name fewer kinds; only a whole look at the cluster tells which."""
        if self._progress.record.kept:
            return
        await self._applyset.narrow_after_prune(
            {item.key.group_kind for item in self.plan.leaving},
            self._cluster.discovery,
            deadline=self._lease.remaining,
        )
