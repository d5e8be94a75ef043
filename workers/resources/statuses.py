"""The statuses of custom resources: what Redis and the documents say, written when it is something else than before.

What must hold: a status costs a write only when it changes, and at most one a second and resource; it is about a generation
that this process has heard of, together with all documents; and a resource that isn't there any more is never made by its status
(its uid is named).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import structlog
from redis.exceptions import RedisError

from windlass.documents.catalog import Catalog
from windlass.documents.crds import GROUP, VERSION
from windlass.documents.pipeline import Pipeline
from windlass.documents.promotion import Promotion
from windlass.documents.resources import Found, Of, Resource
from windlass.documents.status import ResourceStatus
from windlass.documents.types import Application
from windlass.errors import WindlassError
from windlass.feed import all_secrets, terms
from windlass.state import ApplicationState, read_states
from workers.application import document_digest
from workers.context import Context
from workers.kube.errors import ApiError
from workers.kube.transport import KubeClient
from workers.promote.state import PromotionStore
from workers.resources import conditions
from workers.resources.collection import Collection, Known, Place, served
from workers.resources.conditions import Verdict
from workers.resources.finalizer import Finalizers

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
SELDOM_SECONDS = 5.0
"""How often what nobody announces is looked at: sources that can't be followed, builds that failed, and promotions."""
MANAGER = "windlass-status"
BATCH = 50
"""Resources that are looked at together: others get their turn between two batches."""


class Statuses:
    """Writes the statuses of all resources of ``collection``."""

    def __init__(self, context: Context, client: KubeClient, collection: Collection, finalizers: Finalizers) -> None:
        self._context, self._client = context, client
        self._collection, self._finalizers = collection, finalizers
        self._promotions = PromotionStore(context.redis, context.secret_key)
        self._heard: Found | None = None
        self._seen: dict[Place, str] = {}  # the resourceVersions that were looked at
        self._waiting: set[Place] = set()  # what becomes other without a word
        self._failed: dict[str, str] = {}
        self._seldom = float("-inf")

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            heard = self._context.directory.heard
            if heard is not self._heard:  # the catalog of it is about to be used, and may change what is said of any
                self._heard = heard
                self._seen.clear()
            elif self._collection.complete:
                try:
                    await self._look(heard, self._context.catalog)
                except RedisError as error:
                    log.warning("redis.unreachable", error=str(error))
                    self._seen.clear()

    async def _look(self, heard: Found, catalog: Catalog) -> None:
        """Compare what is said with what is so where something changed, and write what differs."""
        now = {(one.uid, one.generation, one.deleting) for one in heard.resources}
        known = {one.place: one for one in self._collection if _identity(one.resource) in now}
        changed = await self._changed(known, catalog)
        self._waiting &= known.keys()
        documents = {one.resource.uid: one for one in (*heard.documents, *heard.ending)}
        wrong: dict[str, list[str]] = {}
        for error in catalog.errors if changed else ():
            wrong.setdefault(error.file, []).append(f"{error.field}: {error.message}" if error.field else error.message)
        for start in range(0, len(changed), BATCH):
            part = changed[start : start + BATCH]
            states = await read_states(self._context.redis, [self._name(one.resource) for one in part])
            news = News(catalog, documents, wrong, self._failed)
            await asyncio.gather(*(self._tell(*pair, news) for pair in zip(part, states, strict=True)))
        self._seen = {place: one.version for place, one in known.items()}

    async def _changed(self, known: Mapping[Place, Known], catalog: Catalog) -> list[Known]:
        """Those of which something is known that wasn't when they were looked at last."""
        names = set(await self._context.queue.changed())
        if time.monotonic() - self._seldom >= SELDOM_SECONDS:
            self._seldom = time.monotonic()
            failed = await self._context.queue.errors(sorted({**catalog.sources, **catalog.pipelines}))
            sources = {source for source, _ in failed.items() ^ self._failed.items()}
            names |= {
                one.name
                for source in sources
                if source in catalog.sources
                for one in catalog.sources[source].applications
            }
            names |= {catalog.pipelines[one].pipeline.name for one in sources if one in catalog.pipelines}
            self._failed = failed
            names |= {view.promotion.name for view in catalog.promotions.values()}
        return [
            one
            for place, one in known.items()
            if self._seen.get(place) != one.version or place in self._waiting or self._name(one.resource) in names
        ]

    def _name(self, resource: Resource) -> str:
        return terms(self._context.settings).name(resource.namespace, resource.name)

    async def _tell(self, known: Known, state: ApplicationState, news: News) -> None:
        status, verdict = await self._said(known, state, news)
        name = self._name(known.resource)
        wanted = conditions.with_conditions(
            status,
            verdict,
            generation=known.resource.generation,
            name=name if name != known.resource.name else None,
            before=known.status,
            now=time.time(),
        )
        written = conditions.same(wanted, known.status) or await self._write(known, wanted)
        waits = not written or known.resource.deleting or verdict.reason == conditions.MISSING
        (self._waiting.add if waits else self._waiting.discard)(known.place)

    async def _said(self, known: Known, state: ApplicationState, news: News) -> tuple[ResourceStatus, Verdict]:
        """What is to be said. ``state`` is what is known by the name, which may be another document's."""
        label, of = known.resource.label, news.documents.get(known.resource.uid)
        status: ResourceStatus = ResourceStatus()
        if known.resource.kind == "Application" and (
            label not in news.wrong or state.name not in news.catalog.applications
        ):
            status = conditions.application_status(state)
        if known.resource.deleting:
            return status, conditions.ending(self._finalizers.said.get(known.place, ""))
        if of is None or label in news.wrong:
            return status, conditions.invalid(news.wrong.get(label, ()))
        if self._context.feed is not None and (missing := self._context.feed.secrets.missing(all_secrets(of.document))):
            return status, conditions.secret_missing(missing)
        if isinstance(of.document, Promotion):
            return conditions.promotion_status(await self._promotions.read(of.document.name)), conditions.VALID
        if isinstance(of.document, Pipeline):
            return status, conditions.of_pipeline(news.failed.get(of.document.id, ""))
        if isinstance(of.document, Application):
            current = state.document == document_digest(of.document, news.catalog.limits_of(of.document))
            return status, conditions.of_application(state, current=current, trouble=news.trouble(of.document))
        return status, conditions.VALID

    async def _write(self, known: Known, status: Mapping[str, Any]) -> bool:
        """False: it is to be tried again."""
        resource = known.resource
        metadata = {"name": resource.name, "namespace": resource.namespace, "uid": resource.uid}
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": resource.kind, "metadata": metadata, "status": status}
        try:
            await self._client.request(
                "PATCH",
                f"{served(resource.kind).path(resource.namespace, resource.name)}/status",
                params={"fieldManager": MANAGER, "force": "true"},
                body=orjson.dumps(body),
                content_type="application/apply-patch+yaml",
            )
        except WindlassError as error:
            if isinstance(error, ApiError) and error.status in (404, 409):
                return True  # it is gone, or another one of its name is there
            if known.place not in self._waiting:
                log.warning("resources.status", resource=resource.label, error=str(error))
            return False
        return True


class News(NamedTuple):
    """What is known at one moment."""

    catalog: Catalog
    documents: Mapping[str, Of]  # by the resource's uid
    wrong: Mapping[str, Sequence[str]]  # by its label
    failed: Mapping[str, str]  # source, or a pipeline's name in the queue -> why it can't be followed, or built

    def trouble(self, application: Application) -> str:
        """Why a source of the application can't be followed; "" if all can."""
        return "; ".join(filter(None, (self.failed.get(source.id, "") for source in application.spec.sources)))


def _identity(resource: Resource) -> tuple[str, int, bool]:
    return resource.uid, resource.generation, resource.deleting
