"""The reader of custom resources: a role that one watcher holds, by a lease.

It hands on what it reads to every process, its own among them, and sees to the rest by what all of them then know: statuses
and finalizers. An Application is handed on once it has its finalizer, so that nothing is applied that a deletion would forget.
Two readers at once (a Redis that forgot a lease) do no harm: both read the same cluster, and every write has a precondition.
"""

from __future__ import annotations

import asyncio
import random
import time

import structlog
from redis.exceptions import RedisError

from windlass.documents.resources import Resource
from windlass.documents.types import Cluster, ClusterSpec
from windlass.errors import LeaseLostError, WindlassError
from windlass.queue import Lease
from windlass.queue.resources import Handover
from workers.context import Context
from workers.resources.collection import Collection
from workers.resources.finalizer import Finalizers
from workers.resources.shares import within
from workers.resources.statuses import Statuses
from workers.services import stop

log = structlog.get_logger(__name__)

GATHER_SECONDS = 0.05
"""How long changes are gathered before they are handed on: `kubectl apply -f FOLDER` is one set."""
CHECK_SECONDS = 2.0
"""How often it is made sure that Redis still has the set."""
FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 5.0


class ResourceReader:
    """Reads, in this process, if it holds the lease."""

    def __init__(self, context: Context) -> None:
        self._context = context
        settings = context.settings
        spec = ClusterSpec(
            kubeconfig=settings.resources_kubeconfig or None, in_cluster=not settings.resources_kubeconfig
        )
        self._home = Cluster("(custom resources)", spec)  # no document can have this name
        self._generation = 0

    async def run(self) -> None:
        """The service: until cancelled, or not at all where the settings say so."""
        if not (self._context.settings.resources and self._context.settings.watch):
            return
        tries = 0
        while True:
            try:
                lease = await self._context.leases.acquire("resources", "all", look_every=float("inf"))
                try:
                    await self._read(lease)
                finally:
                    await asyncio.shield(lease.release())
            except (RedisError, WindlassError) as error:
                log.warning("resources.interrupted", error=str(error))
            except Exception as error:
                log.error("resources.failed", error=repr(error), exc_info=error)
            longest = min(FIRST_BACKOFF * 2**tries, LONGEST_BACKOFF)
            tries += 1
            await asyncio.sleep(longest * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load

    async def _read(self, lease: Lease) -> None:
        """Read for as long as the lease is held.

        :raises LeaseLostError: it is somebody else's now.
        """
        access = await self._context.clusters.get(self._home)
        changed = asyncio.Event()
        collection = Collection(access.client, self._context.settings.resources, changed.set)
        finalizers = Finalizers(self._context, access.client, collection)
        statuses = Statuses(self._context, access.client, collection, finalizers)
        log.info("resources.reading", namespaces=self._context.settings.resources)
        works = (collection.run(), self._hand_on(collection, finalizers, changed), statuses.run(), finalizers.run())
        tasks = [asyncio.create_task(work) for work in (*works, _until_lost(lease))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await stop(tasks)
            log.info("resources.stopped")

    async def _hand_on(self, collection: Collection, finalizers: Finalizers, changed: asyncio.Event) -> None:
        handover = Handover(self._context.redis, self._context.settings.shared_key())
        last: list[Resource] | None = None
        checked = float("-inf")
        while True:
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await changed.wait()
                    await asyncio.sleep(GATHER_SECONDS)
            except TimeoutError:
                pass
            if not collection.complete:
                continue
            changed.clear()
            ready = (one for one in collection if finalizers.ready(one))
            wanted = within(ready, self._context.settings.resources_namespace)
            if wanted == last:
                if time.monotonic() - checked < CHECK_SECONDS:
                    continue
                checked = time.monotonic()
                if await self._there(handover):
                    continue
            self._generation = await handover.write(wanted, after=self._generation)
            last = wanted
            log.info("resources.handed_on", generation=self._generation, resources=len(wanted))

    async def _there(self, handover: Handover) -> bool:
        """Has Redis just what was handed on last?"""
        there = await handover.read()
        return there is not None and there.generation == self._generation


async def _until_lost(lease: Lease) -> None:
    """
    :raises LeaseLostError: at the end.
    """
    while True:
        await asyncio.sleep(FIRST_BACKOFF / 2)
        if lease.lost:
            raise LeaseLostError(f"{lease.key} is somebody else's now")
