"""What left goes: last of all, within its limits, in the reverse of the order in which it came.

What must hold: nothing goes after an error, nor what another application wants, nor what asks to stay; and a commit that
would take too much of an application waits for a person.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from windlass.documents import ordering
from windlass.errors import WaitingError
from windlass.queue import Lease
from windlass.state import Standing
from workers.concurrency import together
from workers.context import Context
from workers.directives import Directives, directives
from workers.guards import guard
from workers.inventory import Claims
from workers.kube.applyset import ApplySet
from workers.kube.errors import ApiError
from workers.kube.keys import ObjectKey
from workers.order import prune_order
from workers.plan import Leaving, ObjectError, outside
from workers.rollout import wait_for
from workers.writes import Progress, Writer

GONE_SECONDS = 2.0
"""How long a run itself waits for finalizers; then it ends, and holds nothing."""


class Pruner:
    """The deletions of one run."""

    def __init__(
        self, context: Context, writer: Writer, claims: Claims, standing: Standing, *, owned: int, approved: bool
    ) -> None:
        """``owned``: how many objects the application had after its last complete run, before any try of this one;
        ``approved``: a person agreed to this prune. ``standing`` is what an earlier run left, and is kept up to date."""
        self._context, self._claims, self._standing = context, claims, standing
        self._owned, self._approved = owned, approved
        self._application, self._cluster = writer.application, writer.cluster
        self._applyset: ApplySet = writer.applyset
        self._account, self._limits = writer.account, context.catalog.limits_of(writer.application)
        self._progress: Progress = writer.progress
        self._lease: Lease = writer.lease
        self._seen: dict[str, dict[str, Any]] = {}

    async def prune(
        self,
        leaving: Sequence[Leaving],
        last_look: Callable[[], Awaitable[None]],
        held: Mapping[ObjectKey, ObjectError],
    ) -> None:
        """Delete what left, only if nothing went wrong and nothing newer is known.

        :param held: what must stay for now, with the reason.
        :raises SupersededError: by ``last_look``. :raises WaitingError: finalizers take their time.
        """
        if not leaving or self._progress.errors:
            return
        if not self._application.spec.sync.prune:
            self._progress.record.kept += [str(item.key) for item in leaving]
            return
        await last_look()
        with self._progress.timed("prune"):
            ours = await self._ours_to_prune(leaving)
            self._progress.errors += [held[item.key] for item in ours if item.key in held]
            going = await self._guarded([item for item in ours if item.key not in held])
            groups = prune_order(going)
            for place, group in enumerate(groups):
                width = min(len(group.leaving), self._cluster.limiter.maximum)
                await together(width, partial(self._prune_each, iter(group.leaving)))
                if place + 1 < len(groups) and not await self._until_gone(group.leaving):
                    return
            if not self._progress.errors:
                await self._narrow(leaving)

    async def _ours_to_prune(self, leaving: Sequence[Leaving]) -> list[Leaving]:
        """Without what is handed over: the other application relabels it."""
        holders = await self._claims.holders([str(item.key) for item in leaving])
        ours = []
        for item in leaving:
            holder = holders.get(str(item.key))
            if holder and holder != self._application.name and holder in self._context.catalog.applications:
                self._progress.gone.append(str(item.key))
            elif outside(self._limits, item.key):  # applied before there were these limits: no longer ours to delete
                self._progress.record.kept.append(str(item.key))
                self._progress.gone.append(str(item.key))
            else:
                ours.append(item)
        return ours

    async def _guarded(self, leaving: Sequence[Leaving]) -> list[tuple[Leaving, Directives]]:
        """What may go, with what it says of itself; what stays, and what waits for a person, is noted."""
        wishes: dict[Leaving, Directives] = {}
        queue = iter(leaving)

        async def look_at_each() -> None:
            for item in queue:
                async with self._cluster.limiter:
                    metadata = await self._cluster.metadata(item.key, item.api_version)
                if metadata is None:
                    self._progress.gone.append(str(item.key))
                    continue
                self._seen[str(item.key)] = metadata
                wishes[item] = directives(metadata.get("annotations"), item.key.group_kind)

        await together(min(len(leaving), self._cluster.limiter.maximum), look_at_each)
        limit = ordering.prune_limit(self._application.spec.sync.prune_limit) or ordering.DEFAULT_LIMIT
        judged = guard(wishes.items(), self._owned, limit, approved=self._approved)
        for kept in judged.kept:
            self._progress.record.kept.append(str(kept.leaving.key))
            self._progress.gone.append(str(kept.leaving.key))
        if judged.approval:
            hint = f"`windlass approve {self._application.name}` approves it"
            self._progress.errors.append(ObjectError("", self._application.name, 0, f"{judged.approval} ({hint})"))
        return [(item, wishes[item]) for item in judged.go]

    async def _prune_each(self, queue: Iterator[Leaving]) -> None:
        for item in queue:
            async with self._cluster.limiter:
                await self._prune_one(item)

    async def _prune_one(self, item: Leaving) -> None:
        name = str(item.key)
        try:
            result = await self._cluster.prune(
                item.key,
                item.api_version,
                self._application.name,
                self._applyset.id,
                account=self._account,
                deadline=self._lease.remaining,
                seen=self._seen.get(name),
            )
        except ApiError as error:
            self._progress.errors.append(ObjectError(name, "", 0, f"prune: {error}", retry=error.retryable))
            return
        self._progress.gone.append(name)
        if result == "deleted":
            self._progress.record.pruned += 1

    async def _until_gone(self, leaving: Sequence[Leaving]) -> bool:
        """The next group may be what this one's finalizers need. False: they have taken too long, and that is an error.

        :raises WaitingError: they take their time; the next run goes on.
        """
        left, end = list(leaving), time.monotonic() + GONE_SECONDS
        while True:
            found = [(item, await self._cluster.metadata(item.key, item.api_version)) for item in left]
            left = [item for item, metadata in found if metadata is not None and self._same(item, metadata)]
            if not left:
                return True
            if time.monotonic() > end:
                break
            await asyncio.sleep(0.1)
        names = [str(item.key) for item in left]
        self._progress.gone = [name for name in self._progress.gone if name not in names]  # the next run waits for them
        why = f"waits until {', '.join(names[:3])} is gone"
        limit = ordering.timeout(self._application.spec.sync.timeout)
        if wait_for(self._standing, "prune", names, why, limit):
            raise WaitingError(why)
        message = f"is being deleted, and not gone after {limit:.0f} s (spec.sync.timeout): what would follow it stays"
        self._progress.errors += [ObjectError(name, "", 0, message) for name in names]
        return False

    def _same(self, item: Leaving, metadata: dict[str, Any]) -> bool:
        seen = self._seen.get(str(item.key))
        return seen is not None and seen["uid"] == metadata["uid"]

    async def _narrow(self, leaving: Sequence[Leaving]) -> None:
        """After a complete prune the parent may name fewer kinds; only a whole look at the cluster tells which."""
        if self._progress.record.kept:
            return
        await self._applyset.narrow_after_prune(
            {item.key.group_kind for item in leaving}, self._cluster.discovery, deadline=self._lease.remaining
        )
