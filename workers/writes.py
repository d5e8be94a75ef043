"""An application's writes to the cluster, object by object: as fast as the cluster takes them, and each accounted for.

What must hold: between two objects' writes a run may give way, never inside one; what another application wants is left to
it; every object's hash is noted as it is applied; one that is replaced is ours, and what was looked at.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from windlass.documents.accounts import account_of
from windlass.documents.types import Application
from windlass.errors import SupersededError
from windlass.queue import Lease
from windlass.state import RunRecord
from workers.cluster import ClusterAccess
from workers.concurrency import together
from workers.context import Context
from workers.desired import Manifests
from workers.ignore import IgnoreRules, is_handed_over
from workers.immutable import advice, immutable_fields, may_replace
from workers.inventory import Claims
from workers.kube.apply import Applied, Applier
from workers.kube.applyset import ApplySet
from workers.kube.discovery import Resource
from workers.kube.errors import ApiError, ConflictError
from workers.kube.keys import ObjectKey
from workers.plan import NO_HASH, Entry, ObjectError, Plan, Wanted, body
from workers.render.random_values import kept
from workers.replacing import Replacer

RECORD_EVERY = 200
"""Objects applied between two records of progress."""


class Progress:
    """What a run has come to so far."""

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.began: dict[str, float] = {}  # step -> when it began first (seconds since the epoch)
        self.errors: list[ObjectError] = []
        self.done: dict[str, bytes] = {}  # inventory entries that are not recorded yet
        self.gone: list[str] = []

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        self.began.setdefault(step, time.time())
        try:
            yield
        finally:
            took = (time.perf_counter() - start) * 1000
            self.record.durations[step] = round(self.record.durations.get(step, 0.0) + took, 2)

    def fail(self, wanted: Wanted, message: str, *, retry: bool) -> None:
        item = wanted.sketch
        self.errors.append(ObjectError(str(wanted.key), item.file, item.line, message, retry))


class Writer:
    """The writes of one run."""

    def __init__(
        self,
        context: Context,
        application: Application,
        *,
        progress: Progress,
        cluster: ClusterAccess,
        lease: Lease,
        manifests: Manifests,
        claims: Claims,
        give_way: Callable[[], None],
        save: Callable[[], Awaitable[None]],
    ) -> None:
        """``give_way`` raises if a newer commit is to go first; ``save`` records the progress."""
        self.application, self.progress, self.cluster, self.lease = application, progress, cluster, lease
        self.applyset: ApplySet = cluster.applyset(application.name)
        self.give_way = give_way
        self._context, self._manifests, self._claims, self._save = context, manifests, claims, save
        self._refused: dict[str, str] = {}
        self._ignore = IgnoreRules.of(application)
        self.account = account_of(application.spec.destination, context.settings.default_service_account)
        self._applier = Applier(
            cluster.members(self.account),
            application.name,
            self.applyset.id,
            force=application.spec.sync.force,
            may_take=self._may_take,
        )
        self._replacer = Replacer(
            cluster.members(self.account),
            application.name,
            self.applyset.id,
            mark=self._replacing,
            deadline=lease.remaining,
        )

    async def claim(self, plan: Plan) -> None:
        """Objects that are new to this application are claimed; what another one wants is an error, and left alone."""
        new = {str(wanted.key): wanted for wanted in plan.writes if wanted.previous is None}
        self._refused = await self._claims.take(list(new))
        for name, holder in self._refused.items():
            self.progress.fail(new[name], f"application {holder} wants this object too", retry=True)

    async def announce(self, wanted: Sequence[Wanted], version: str) -> None:
        """The ApplySet's parent names these objects' kinds and namespaces before the first of them is applied.

        ``version`` is the parent's as the last run left it.
        """
        await self.applyset.ensure(
            {w.key.group_kind for w in wanted},
            {w.key.namespace for w in wanted if w.key.namespace},
            revision=self.progress.record.revision,
            deadline=self.lease.remaining,
            version=version or None,
        )

    async def write(self, objects: Sequence[Wanted]) -> None:
        """Write all of them at once, as fast as the cluster takes it."""
        objects = [wanted for wanted in objects if str(wanted.key) not in self._refused]
        queue = iter(objects)
        try:
            await together(min(len(objects), self.cluster.limiter.maximum), lambda: self._write_each(queue))
        except SupersededError:
            await self._create_anew()  # nobody gives way inside a replacement
            raise
        await self._create_anew()

    async def _write_each(self, queue: Iterator[Wanted]) -> None:
        for wanted in queue:
            self.give_way()
            async with self.cluster.limiter:
                await self._write_one(wanted)
            if len(self.progress.done) >= RECORD_EVERY:
                await self._save()

    async def _write_one(self, wanted: Wanted) -> None:
        resource = await self.resource(wanted)
        if resource is None:
            return
        try:
            if await self._replacer.asks(wanted, resource):
                await self._replacer.begin(wanted, resource, "its content changed")
            else:
                self._wrote(wanted, await self.apply(wanted, resource, wanted.sketch.hash))
        except ApiError as error:
            await self._refusal(wanted, resource, error)

    def _wrote(self, wanted: Wanted, applied: Applied) -> None:
        self.progress.record.applied += 1
        self.progress.record.taken += applied.took
        entry = Entry(wanted.sketch.hash, applied.fields, wanted.sketch.file)
        self.progress.done[str(wanted.key)] = entry.dump()

    async def resource(self, wanted: Wanted) -> Resource | None:
        """How the cluster names the object's kind; None (and an error noted): it has no such kind."""
        item = wanted.sketch
        resource = await self.cluster.discovery.resource(item.api_version, item.kind)
        if resource is None:
            message = f"the cluster has no kind {item.kind} in {item.api_version}"
            self.progress.fail(wanted, message, retry=True)
        return resource

    async def apply(
        self,
        wanted: Wanted,
        resource: Resource,
        digest: str,
        *,
        amend: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> Applied:
        """One object, applied; ``amend`` has the last word about its manifest.

        :raises ApiError: the server refused it.
        """
        previous = self._manifests.manifest(wanted.previous) if wanted.previous else None
        wished = body(self._manifests.manifest(wanted.sketch), wanted.key)
        if wanted.sketch.random and (live := await self.cluster.read(wanted.key)) is not None:
            wished = kept(wished, live, wanted.sketch.random)
        wished = amend(wished) if amend is not None else wished
        left = None
        if digest == wanted.sketch.hash:  # a hook is made anew each time: nothing of it is anybody else's
            left = self._ignore.of_key(wanted.key)
        return await self._applier.apply(
            resource,
            wished,
            digest=digest,
            previous=body(previous, wanted.key) if previous else None,
            deadline=self.lease.remaining,
            left=left,
            settled=is_handed_over(wanted.applied, digest),
        )

    async def _refusal(self, wanted: Wanted, resource: Resource, error: ApiError) -> None:
        """What to do about a refusal: the object is replaced where that helps and is allowed, else the error is its own."""
        if error.missing:
            self.cluster.discovery.forget(resource)
        if error.forbidden or (isinstance(error, ConflictError) and error.application):
            # Not this application's, so whoever may have it need not wait. (A name alone must keep no tenant out.)
            await self._claims.release([str(wanted.key)])
        if isinstance(error, ConflictError) and error.application:
            await self._claims.wait_for(error.application, str(wanted.key))
        before = self._manifests.manifest(wanted.previous).body if wanted.previous else None
        after = self._manifests.manifest(wanted.sketch).body
        fields = immutable_fields(error, wanted.key.group_kind, before, after)
        if not fields:
            self.progress.fail(wanted, str(error), retry=error.retryable)
        elif not may_replace(wanted.key.group_kind, wanted.sketch.directives, self.application.spec.sync.replace):
            self.progress.fail(wanted, advice(wanted.key.group_kind, fields), retry=False)
        else:
            why = f"for {', '.join(fields)}"
            try:
                await self._replacer.begin(wanted, resource, why)
            except ApiError as second:
                self.progress.fail(wanted, f"replacing it ({why}): {second}", retry=second.retryable)

    async def _replacing(self, wanted: Wanted) -> None:
        """Who comes next makes the object again, whatever it is to be by then."""
        entry = Entry(NO_HASH, "", wanted.sketch.file)
        await self._context.queue.record(
            self.lease, self.application.name, state={}, set_objects={str(wanted.key): entry.dump()}
        )

    async def _create_anew(self) -> None:
        """What was deleted is created as soon as it is gone; everything else of the step is written by now."""
        if not self._replacer.going:
            return
        gone, held = await self._replacer.gone()
        for one, finalizers in held:
            message = f"replacing it ({one.why}): it is being deleted, and not gone yet (finalizers: {finalizers})"
            self.progress.fail(one.wanted, message, retry=True)
        for one in gone:
            async with self.cluster.limiter:
                try:
                    self._wrote(one.wanted, await self.apply(one.wanted, one.resource, one.wanted.sketch.hash))
                except ApiError as error:
                    self.progress.fail(one.wanted, f"replacing it ({one.why}): {error}", retry=error.retryable)

    async def _may_take(self, other: str, key: ObjectKey) -> bool:
        """May an object be taken from the application ``other``? If it was released to us, or we adopt all that it has."""
        if other == self.application.spec.adopts:
            return True
        if other not in self._context.catalog.applications or not await self._context.has_inventory(other):
            return False
        return (await self._claims.holders([str(key)])).get(str(key)) == self.application.name
