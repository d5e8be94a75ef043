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
from windlass.documents.promotion import Promotion
from windlass.documents.resources import Found, Of, Resource, Terms
from windlass.documents.status import ResourceStatus
from windlass.documents.types import Application
from windlass.errors import WindlassError
from windlass.feed import all_secrets
from windlass.feed import terms as terms_of
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
MANAGER = "windlass-status"
BATCH = 100
"""Applications whose states are read at once."""
WRITERS = 8


class Statuses:
    """Writes the statuses of all resources of ``collection``."""

    def __init__(self, context: Context, client: KubeClient, collection: Collection, finalizers: Finalizers) -> None:
        self._context, self._client = context, client
        self._collection, self._finalizers = collection, finalizers
        self._promotions = PromotionStore(context.redis)
        self._heard: Found | None = None
        self._turns = asyncio.Semaphore(WRITERS)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            heard = self._context.directory.heard
            if heard is not self._heard:  # the catalog of it is about to be used
                self._heard = heard
            elif self._collection.complete:
                try:
                    await self._look(heard, self._context.catalog)
                except RedisError as error:
                    log.warning("redis.unreachable", error=str(error))

    async def _look(self, heard: Found, catalog: Catalog) -> None:
        """Compare what is said with what is so, and write what differs."""
        now = {(one.uid, one.generation, one.deleting) for one in heard.resources}
        known = [one for one in self._collection if _identity(one.resource) in now]
        news = await News.gather(self._context, heard, catalog, [one.resource for one in known])
        await asyncio.gather(*(self._tell(one, news) for one in known))

    async def _tell(self, known: Known, news: News) -> None:
        async with self._turns:
            status, verdict = await self._said(known, news)
            name = news.names[known.place]
            wanted = conditions.with_conditions(
                status,
                verdict,
                generation=known.resource.generation,
                name=name if name != known.resource.name else None,
                before=known.status,
                now=time.time(),
            )
            if not conditions.same(wanted, known.status):
                await self._write(known, wanted)

    async def _said(self, known: Known, news: News) -> tuple[ResourceStatus, Verdict]:
        kind, name = known.resource.kind, news.names[known.place]
        status: ResourceStatus = ResourceStatus()
        if kind == "Application" and name in news.states:
            status = conditions.application_status(news.states[name])
        if known.resource.deleting:
            return status, conditions.ending(self._finalizers.said.get(known.place, ""))
        of = news.documents.get(known.resource.uid)
        if of is None or known.resource.label in news.wrong:
            return status, conditions.invalid(news.wrong.get(known.resource.label, ()))
        if self._context.feed is not None and (missing := self._context.feed.secrets.missing(all_secrets(of.document))):
            return status, conditions.waiting("SecretMissing", missing)
        if isinstance(of.document, Promotion):
            status = conditions.promotion_status(await self._promotions.read(name))
        if isinstance(of.document, Application):
            limits = news.catalog.limits_of(of.document)
            state = news.states[name]
            current = state.document == document_digest(of.document, limits)
            return status, conditions.of_application(state, current=current, trouble=news.trouble(of.document))
        return status, conditions.VALID

    async def _write(self, known: Known, status: Mapping[str, Any]) -> None:
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
        except ApiError as error:
            if error.status not in (404, 409):  # it is gone, or another one of its name is there
                log.warning("resources.status", resource=resource.label, error=str(error))
        except WindlassError as error:
            log.warning("resources.status", resource=resource.label, error=str(error))


class News(NamedTuple):
    """What is known of some resources at one moment."""

    catalog: Catalog
    names: dict[Place, str]
    documents: dict[str, Of]  # by the resource's uid
    wrong: dict[str, list[str]]  # by its label
    states: dict[str, ApplicationState]
    failed: dict[str, str]  # source -> why it can't be followed

    @classmethod
    async def gather(cls, context: Context, heard: Found, catalog: Catalog, resources: Sequence[Resource]) -> News:
        """One round of questions to Redis for all of them."""
        wrong: dict[str, list[str]] = {}
        for error in catalog.errors:
            wrong.setdefault(error.file, []).append(f"{error.field}: {error.message}" if error.field else error.message)
        terms = terms_of(context.settings)
        names = {(one.kind, one.namespace, one.name): terms.name(one.namespace, one.name) for one in resources}
        theirs = [
            terms.name(one.namespace, one.name)
            for one in resources
            if one.kind == "Application" and _has_its_name(one, terms, catalog, wrong)
        ]
        states: dict[str, ApplicationState] = {}
        for start in range(0, len(theirs), BATCH):
            part = theirs[start : start + BATCH]
            states.update(zip(part, await read_states(context.redis, part), strict=True))
        sources = sorted(
            {source.id for name in theirs if (one := catalog.applications.get(name)) for source in one.spec.sources}
        )
        failed = await context.queue.errors(sources)
        documents = {one.resource.uid: one for one in (*heard.documents, *heard.ending)}
        return cls(catalog, names, documents, wrong, states, failed)

    def trouble(self, application: Application) -> str:
        """Why a source of the application can't be followed; "" if all can."""
        return "; ".join(filter(None, (self.failed.get(source.id, "") for source in application.spec.sources)))


def _identity(resource: Resource) -> tuple[str, int, bool]:
    return resource.uid, resource.generation, resource.deleting


def _has_its_name(resource: Resource, terms: Terms, catalog: Catalog, wrong: Mapping[str, object]) -> bool:
    """Is what is known by its name about this resource? A file's document may have the same name, and comes first."""
    return resource.label not in wrong or terms.name(resource.namespace, resource.name) not in catalog.applications
