"""A whole application deleted, as `windlass delete` does: in the reverse of the order in which it came.

What must hold: nothing goes that asks to be kept, that is precious and wasn't asked for, or that isn't ours; a group is gone
before the next one goes, for its finalizers may need what follows; and whatever was cut off, the same command goes on with,
for what is left is known to the cluster. The application's lease is held for writes, never for a wait, and what was deleted
leaves the inventory before the lease does: nobody takes it for drift.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple, Protocol

from windlass import state
from windlass.documents import ordering
from windlass.documents.accounts import ServiceAccount, account_of
from windlass.errors import WindlassError
from windlass.health import health_key
from windlass.queue import Lease
from windlass.wire import text
from workers.cluster import ClusterAccess
from workers.concurrency import together
from workers.context import Context
from workers.dependencies import wake
from workers.directives import Directives
from workers.guards import kept_because
from workers.inventory import Claims
from workers.kube.applyset import Member
from workers.kube.errors import ApiError
from workers.moved import note_deleted
from workers.order import PruneGroup, prune_order
from workers.plan import Leaving

LOOK_SECONDS = 0.1


class Tell(Protocol):
    """Takes a line for people; ``err``: it says what went wrong."""

    def __call__(self, line: str, /, *, err: bool = False) -> None: ...


class Judged(NamedTuple):
    """Everything that an application has on a cluster: what goes, in this order, and what stays (with the reason)."""

    groups: tuple[PruneGroup, ...]
    kept: tuple[tuple[Member, str], ...]

    @property
    def going(self) -> list[Leaving]:
        return [item for group in self.groups for item in group.leaving]


class Deletion:
    """Deletes what ``name`` has on one cluster; with its document as its account, else as Windlass itself."""

    def __init__(self, context: Context, name: str, access: ClusterAccess, tell: Tell) -> None:
        self.name, self.access = name, access
        self.deleted, self.failed = 0, 0
        self.document = context.catalog.applications.get(name) or context.catalog.ending.get(name)
        self.applyset = access.applyset(name)
        self._context, self._tell = context, tell
        self._uids: dict[str, str] = {}
        self.claims = Claims(
            context.redis,
            access.document.name,
            name,
            yielding=(),
            wake=lambda names: wake(context, names, f"{name} is being deleted"),
        )

    @property
    def account(self) -> ServiceAccount | None:
        """As whom its objects were written. Without its document nobody can tell."""
        if self.document is None:
            return None
        return account_of(self.document.spec.destination, self._context.settings.default_service_account)

    @property
    def moved(self) -> bool:
        """Does the document name another cluster now? Then what Windlass knows of the application is about that one."""
        return self.document is not None and self.document.spec.destination.cluster != self.access.document.name

    @property
    def timeout(self) -> float:
        """How many seconds one wait may last."""
        return ordering.timeout(self.document.spec.sync.timeout if self.document else None)

    async def look(self) -> Judged:
        """What there is, now.

        :raises WindlassError: that can't be known completely, so that nothing may be deleted.
        """
        members, unlisted = await self.applyset.members(self.access.discovery)
        for group_kind, reason in unlisted.items():
            raise WindlassError(f"{group_kind} can't be listed, so nothing is deleted: {reason}")
        going: list[tuple[Leaving, Directives]] = []
        kept: list[tuple[Member, str]] = []
        for member in sorted((m for m in members if m.ours), key=lambda m: str(m.key)):
            if reason := kept_because(member.key, member.directives, with_application=True):
                kept.append((member, reason))
            else:
                going.append((Leaving(member.key, member.api_version), member.directives))
                self._uids[str(member.key)] = member.uid
        return Judged(prune_order(going), tuple(kept))

    async def run(self) -> bool:
        """Delete all that goes, group by group; False: something couldn't be, and what would follow it was left."""
        for group in (await self.look()).groups:
            async with self.held() as lease:
                gone = await self._delete(group.leaving, lease)
            if self.failed or not await self._until_gone(gone):
                return False
        return True

    async def forget(self) -> None:
        """All is gone that goes: what Windlass knew of the application goes too, and, if nothing stays, its parent."""
        async with self.held() as lease:
            left = await self.look()
            if not left.kept and not left.groups:
                await self.applyset.remove(deadline=lease.remaining)
            if lease.lost:
                raise WindlassError(f"the application {self.name} is somebody else's now: try again")
            if self.moved:
                kept = len(left.kept) + len(left.groups)
                await note_deleted(self._context.redis, self.name, self.access.document.name, kept)
                return
            known = [text(raw) for raw in await self._context.redis.hkeys(state.objects_key(self.name))]
            await self.claims.release(known)
            await forget(self._context, self.name)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[Lease]:
        """The application's lease."""
        lease = await self._context.leases.acquire("application", self.name)
        try:
            yield lease
        finally:
            await lease.release()

    # -- one group ------------------------------------------------------------------------------------------------

    async def _delete(self, leaving: Sequence[Leaving], lease: Lease) -> list[Leaving]:
        """Delete these at once; those that went."""
        gone: list[Leaving] = []
        width = min(len(leaving), self.access.limiter.maximum)
        await together(width, partial(self._delete_each, iter(leaving), lease, gone))
        names = [str(item.key) for item in gone]
        if not self.moved:
            await self._context.queue.record(lease, self.name, state={}, drop_objects=names)
        await self.claims.release(names)
        return gone

    async def _delete_each(self, queue: Iterator[Leaving], lease: Lease, gone: list[Leaving]) -> None:
        for item in queue:
            async with self.access.limiter:
                try:
                    outcome = await self._delete_one(item, lease)
                except ApiError as error:
                    self._tell(f"{item.key}: {error}", err=True)
                    self.failed += 1
                    continue
            self._tell(f"{item.key}: {outcome}")
            self.deleted += outcome == "deleted"
            gone.append(item)

    async def _delete_one(self, item: Leaving, lease: Lease) -> str:
        return await self.access.prune(
            item.key,
            item.api_version,
            self.name,
            self.applyset.id,
            account=self.account,
            deadline=lease.remaining,
            with_application=True,
        )

    async def _until_gone(self, gone: Sequence[Leaving]) -> bool:
        """Wait until the cluster has none of these any more; False: not within the time-out."""
        left, end = list(gone), time.monotonic() + self.timeout
        while True:
            found = [(item, await self.access.metadata(item.key, item.api_version)) for item in left]
            there = [(item, seen) for item, seen in found if seen and seen["uid"] == self._uids.get(str(item.key))]
            left = [item for item, seen in there if seen.get("deletionTimestamp")]  # else it was kept, or taken over
            if not left:
                return True
            if time.monotonic() > end:
                break
            await asyncio.sleep(LOOK_SECONDS)
        for item, seen in there:
            finalizers = ", ".join(seen.get("finalizers") or ()) or "none"
            late = f"is being deleted, and not gone after {self.timeout:.0f} s (finalizers: {finalizers})"
            self._tell(f"{item.key}: {late}", err=True)
        self.failed += len(left)
        return False


async def forget(context: Context, name: str) -> None:
    """Nothing is known of an application any more, but what its cluster knows. Called under its lease, or where it never had
    anything."""
    keys = (state.application_key, state.objects_key, state.history_key, health_key)
    await context.redis.delete(*(key(name) for key in keys))
    if context.keeping is not None:
        await context.keeping.kept.forget(name)
