"""The watcher: a role that one worker holds for each cluster, by a lease.

One lease a cluster, not one for all: many clusters spread over the workers, and one whose API server is away, or that takes
long to list, holds up no other. A worker that dies is followed within its lease's time; what happened meanwhile is found
when the next one compares its first lists with the inventories. Two watchers at once (a Redis that forgot a lease) do no
harm: every write is made under the application's own lease.
"""

from __future__ import annotations

import asyncio
import random

import structlog
from redis.exceptions import RedisError

from windlass import metrics
from windlass.documents.catalog import Catalog
from windlass.documents.types import Cluster
from windlass.errors import LeaseLostError, WindlassError
from windlass.queue import RECORDED, Lease, Recorded
from workers.context import Context
from workers.services import stop
from workers.watch.follow import Follower
from workers.watch.health import HealthFollower
from workers.watch.kinds import Kinds
from workers.watch.tell import Changed

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.25
"""How soon changed documents, or a lost lease, are noticed."""
HEAR_SECONDS = 2.0
FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 5.0


class Watcher:
    """Watches, in this worker, the clusters whose lease it holds."""

    def __init__(self, context: Context, changed: Changed) -> None:
        """``changed`` is told of every application whose health is another one now."""
        self._context, self._changed = context, changed
        self._clusters: dict[str, tuple[Cluster, asyncio.Task[None]]] = {}
        self._watched: dict[str, tuple[Follower, HealthFollower, Kinds]] = {}

    async def run(self) -> None:
        """The worker's service: until cancelled, or not at all where the settings say so."""
        if not self._context.settings.watch:
            return
        hearing = asyncio.create_task(self._hear())
        try:
            catalog = None
            while True:
                if catalog is not self._context.catalog:
                    catalog = self._context.catalog
                    await self._follow_documents(catalog)
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            tasks = [hearing, *(task for _, task in self._clusters.values())]
            await stop(tasks)

    async def _follow_documents(self, catalog: Catalog) -> None:
        """A task for each cluster that applications are applied to; begun anew where its document changed."""
        used = {application.spec.destination.cluster for application in catalog.applications.values()}
        wanted = {name: catalog.clusters[name] for name in used}
        for name, (document, task) in list(self._clusters.items()):
            if wanted.get(name) != document:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                del self._clusters[name]
                metrics.WATCHER_LEADER.remove(name)  # nobody is missed where nothing is watched
        for name, document in wanted.items():
            if name not in self._clusters:
                metrics.WATCHER_LEADER.labels(name).set(0)
                self._clusters[name] = document, asyncio.create_task(self._hold(document))
        for follower, health, kinds in list(self._watched.values()):
            new, other = follower.documents(), health.documents()
            try:
                await health.learn(other)
                kinds.want(await follower.learn(new))
            except RedisError as error:  # the same that `_hear` meets: it has everything learnt again
                log.warning("redis.unreachable", error=str(error))

    # -- one cluster ----------------------------------------------------------------------------------------------

    async def _hold(self, document: Cluster) -> None:
        """Watch the cluster whenever its lease is to be had. Whatever goes wrong ends this watch, not the worker."""
        tries = 0
        while True:
            try:
                lease = await self._context.leases.acquire("watcher", document.name, look_every=float("inf"))
                try:
                    await self._watch(document, lease)
                finally:
                    await asyncio.shield(lease.release())
            except (RedisError, WindlassError) as error:
                log.warning("watcher.interrupted", cluster=document.name, error=str(error))
            except Exception as error:
                log.error("watcher.failed", cluster=document.name, error=repr(error), exc_info=error)
            longest = min(FIRST_BACKOFF * 2**tries, LONGEST_BACKOFF)
            tries += 1
            await asyncio.sleep(longest * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load

    async def _watch(self, document: Cluster, lease: Lease) -> None:
        """Watch for as long as the lease is held.

        :raises LeaseLostError: it is somebody else's now.
        """
        access = await self._context.clusters.get(document)
        follower, health = Follower(self._context, access), HealthFollower(self._context, access, lease, self._changed)
        kinds = Kinds(access, (follower, health), still_wanted=follower.still_wanted)
        self._watched[document.name] = follower, health, kinds
        metrics.WATCHER_LEADER.labels(document.name).set(1)
        log.info("watcher.started", cluster=document.name)
        tasks = [asyncio.create_task(work) for work in (kinds.run(), follower.run(), health.run(), _until_lost(lease))]
        try:
            await health.learn()
            kinds.want(await follower.learn())
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            del self._watched[document.name]
            metrics.WATCHER_LEADER.labels(document.name).set(0)
            await stop(tasks)
            log.info("watcher.stopped", cluster=document.name)

    # -- what runs record -----------------------------------------------------------------------------------------

    async def _hear(self) -> None:
        """Hear of every record of a run. What was said while nobody heard it is read from the inventories."""
        while True:
            try:
                async with self._context.redis.pubsub() as channel:
                    await channel.subscribe(RECORDED)
                    for follower, health, kinds in list(self._watched.values()):
                        await health.learn()
                        kinds.want(await follower.learn())
                    while True:
                        message = await channel.get_message(ignore_subscribe_messages=True, timeout=HEAR_SECONDS)
                        if message is not None:
                            self._recorded(message["data"])
            except RedisError as error:
                log.warning("redis.unreachable", error=str(error))
                await asyncio.sleep(FIRST_BACKOFF)

    def _recorded(self, message: bytes) -> None:
        recorded = Recorded.load(message)
        for follower, health, kinds in self._watched.values():
            health.recorded(recorded)
            kinds.want(follower.recorded(recorded))


async def _until_lost(lease: Lease) -> None:
    """
    :raises LeaseLostError: at the end.
    """
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if lease.lost:
            raise LeaseLostError(f"{lease.key} is somebody else's now")
