"""The end of an Application that is a custom resource: what it has in its cluster goes first, as with `windlass delete`.

What must hold: what was applied isn't forgotten by a deletion, so an Application has the finalizer before it is handed on; the
finalizer goes when all is gone that goes, and then only; and nobody waits for ever on a cluster that is no more: the annotation
``windlass.dev/deletion-policy: orphan``, at any time, lets the resource go and leaves the objects where they are.
"""

from __future__ import annotations

import asyncio

import orjson
import structlog
from redis.exceptions import RedisError

from windlass.documents.types import ClusterSpec
from windlass.errors import PermanentError, TransientError, WindlassError
from windlass.feed import terms
from windlass.state import read_state
from workers.context import Context
from workers.deletion import Deletion
from workers.farewell import delete, hooks_of
from workers.kube.applyset import DELETION_POLICY
from workers.kube.errors import ApiError
from workers.kube.transport import KubeClient
from workers.resources.collection import Collection, Known, Place, served
from workers.services import stop

log = structlog.get_logger(__name__)

FINALIZER = "windlass.dev/objects"
ORPHAN = "orphan"
WAY_OUT = f"the annotation {DELETION_POLICY}: {ORPHAN} lets the resource go, and leaves the objects"
LOOK_SECONDS = 0.25
GRACE_SECONDS = 4.0
"""Between the word that an Application ends and its deletion: each process has heard of it by then, and applies no more."""
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0


class Finalizers:
    """Adds finalizers, does what they are for, and removes them."""

    def __init__(self, context: Context, client: KubeClient, collection: Collection) -> None:
        self._context, self._client, self._collection = context, client, collection
        self._ending: dict[Place, asyncio.Task[None]] = {}
        self.said: dict[Place, str] = {}  # why an ending Application is there still

    def ready(self, known: Known) -> bool:
        """May this one be handed on?"""
        return known.resource.kind != "Application" or known.resource.deleting or _kept(known) or _orphan(known)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                if self._collection.complete:
                    applications = [one for one in self._collection if one.resource.kind == "Application"]
                    await asyncio.gather(*map(self._see_to, applications))
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await stop(self._ending.values())

    async def _see_to(self, known: Known) -> None:
        deleting, task = known.resource.deleting, self._ending.get(known.place)
        if task is not None and (task.done() or _orphan(known)):
            if not task.done():
                await stop([task])
            del self._ending[known.place]
            task = None
        if _orphan(known):
            if _kept(known):
                await self._write(known, keep=False)
                log.info("resources.let_go", application=self._name(known))
        elif not deleting and not _kept(known):
            await self._write(known, keep=True)
        elif deleting and _kept(known) and task is None:
            self._ending[known.place] = asyncio.create_task(self._end(known))

    async def _write(self, known: Known, *, keep: bool) -> None:
        others = [one for one in known.finalizers if one != FINALIZER]
        metadata = {"finalizers": [*others, FINALIZER] if keep else others, "resourceVersion": known.version}
        path = served(known.resource.kind).path(known.resource.namespace, known.resource.name)
        try:
            await self._client.request(
                "PATCH",
                path,
                params={"fieldManager": "windlass"},
                body=orjson.dumps({"metadata": metadata}),
                content_type="application/merge-patch+json",
            )
        except ApiError as error:
            if error.status not in (404, 409):  # it went, or changed: the watch says how
                log.warning("resources.finalizer", resource=known.resource.label, error=str(error))
        except WindlassError as error:
            log.warning("resources.finalizer", resource=known.resource.label, error=str(error))

    # -- the end --------------------------------------------------------------------------------------------------

    async def _end(self, known: Known) -> None:
        """Delete what the application has, try after try; the finalizer goes with the last object."""
        name, pause = self._name(known), FIRST_PAUSE
        log.info("resources.ending", application=name)
        await asyncio.sleep(GRACE_SECONDS)
        while True:
            try:
                if await self._delete(known, name) or await self._goes_with_its_namespace(known, name):
                    await self._finish(known)
                    return
            except (RedisError, WindlassError) as error:
                if await self._goes_with_its_namespace(known, name):
                    await self._finish(known)
                    return
                self.said[known.place] = str(error)
                log.warning("resources.ending_failed", application=name, error=str(error))
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _finish(self, known: Known) -> None:
        self.said.pop(known.place, None)
        while current := self._current(known):
            await self._write(current, keep=False)
            await asyncio.sleep(LOOK_SECONDS)

    def _current(self, known: Known) -> Known | None:
        found = next((one for one in self._collection if one.place == known.place), None)
        return found if found is not None and found.resource.uid == known.resource.uid and _kept(found) else None

    async def _delete(self, known: Known, name: str) -> bool:
        lines: list[str] = []

        def tell(line: str, /, *, err: bool = False) -> None:
            log.info("resources.ending_step", application=name, step=line)
            if err:
                lines.append(line)

        context = self._context
        self._require_heard(known)
        if name in context.catalog.applications:
            return True  # the name is another document's, and so is all that has been applied by it
        state = await read_state(context.redis, name)
        document = context.catalog.clusters.get(state.cluster or _destination(known))
        if document is None:
            if not (state.cluster or state.objects or state.attempted):
                return True  # nothing was ever applied
            raise PermanentError(f"there is no valid Cluster {state.cluster or _destination(known)}: {WAY_OUT}")
        deletion = Deletion(context, name, await context.clusters.get(document), tell)
        found = await deletion.look()
        hooked = await hooks_of(deletion, context) if found.going or found.kept or state.revision else None
        done = await delete(context, deletion, hooked, tell)
        self.said[known.place] = "; ".join(lines)
        log.info("resources.ended" if done else "resources.ending_failed", application=name, deleted=deletion.deleted)
        return done

    async def _goes_with_its_namespace(self, known: Known, name: str) -> bool:
        """Is the namespace being deleted, in which are the resource and all that it has? The accounts and rights that were in
        there may have gone first: nobody could delete the rest, and the resource would hold the namespace for ever."""
        context, namespace = self._context, known.resource.namespace
        if namespace == context.settings.resources_namespace:
            return False  # of any namespace's objects
        try:
            state = await read_state(context.redis, name)
            document = context.catalog.clusters.get(state.cluster or _destination(known))
            if document is None or not self._home(document.spec):
                return False
            answer = await self._client.request("GET", f"/api/v1/namespaces/{namespace}")
        except (RedisError, WindlassError) as error:
            log.warning("resources.ending_failed", application=name, error=str(error))
            return False
        return bool(answer.json()["metadata"].get("deletionTimestamp"))

    def _home(self, spec: ClusterSpec) -> bool:
        """Is it the cluster that has the resources?"""
        kubeconfig = self._context.settings.resources_kubeconfig
        return (spec.kubeconfig == kubeconfig and not spec.context) if kubeconfig else spec.in_cluster

    def _require_heard(self, known: Known) -> None:
        """
        :raises TransientError: this process doesn't work by the word yet that this one ends.
        """
        context = self._context
        heard = context.directory.heard
        following = any(one.resource.uid == known.resource.uid for one in heard.documents)
        if following or context.feed is None or context.feed.beside.found is not heard:
            raise TransientError("it is not known everywhere yet that this application ends")

    def _name(self, known: Known) -> str:
        return terms(self._context.settings).name(known.resource.namespace, known.resource.name)


def _kept(known: Known) -> bool:
    return FINALIZER in known.finalizers


def _orphan(known: Known) -> bool:
    return known.annotations.get(DELETION_POLICY) == ORPHAN


def _destination(known: Known) -> str:
    destination = known.resource.spec.get("destination")
    return str(destination.get("cluster", "")) if isinstance(destination, dict) else ""
