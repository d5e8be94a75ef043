"""All custom resources that are followed, as the API server tells of them.

What must hold: nothing is said of them before every kind was listed once, and what a broken watch can't see is not taken for
gone: a namespace that may not be read keeps what was known of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing
from typing import Any, NamedTuple

import orjson
import structlog

from windlass.documents.crds import GROUP, VERSION, plural
from windlass.documents.parse import SPECS
from windlass.documents.resources import Resource
from workers.kube.discovery import Resource as Served
from workers.kube.errors import ApiError
from workers.kube.transport import KubeClient
from workers.kube.watch import AnyWatch, Mark

log = structlog.get_logger(__name__)

REFUSED_SECONDS = 15.0
"""How soon a watch that was refused is tried again: the kind may be installed, the right be given."""

Place = tuple[str, str, str]
"""Kind, namespace and name."""


class Known(NamedTuple):
    """A custom resource, and what the API server keeps beside what is wanted."""

    resource: Resource
    version: str
    finalizers: tuple[str, ...]
    annotations: dict[str, str]
    status: dict[str, Any]
    gone: bool
    size: int  # bytes of what is wanted

    @property
    def place(self) -> Place:
        return self.resource.kind, self.resource.namespace, self.resource.name


def served(kind: str) -> Served:
    """How the API server serves a kind of ours."""
    return Served(GROUP, VERSION, kind, plural(kind), True, frozenset())


class ResourceWatch(AnyWatch[Known]):
    """The resources of one kind."""

    def _read(self, obj: dict[str, Any], *, gone: bool = False) -> Known:
        metadata, spec = obj["metadata"], obj.get("spec")
        resource = Resource(
            self._resource.kind,
            metadata["namespace"],
            metadata["name"],
            metadata["uid"],
            metadata["creationTimestamp"],
            int(metadata.get("generation") or 0),
            spec if isinstance(spec, dict) else {},
            bool(metadata.get("deletionTimestamp")),
        )
        return Known(
            resource,
            metadata["resourceVersion"],
            tuple(metadata.get("finalizers") or ()),
            dict(metadata.get("annotations") or {}),
            dict(obj.get("status") or {}),
            gone,
            len(orjson.dumps(resource.spec)),
        )


class Collection:
    """Keeps up with every kind in some namespaces; ``changed`` is told of each change once all were listed."""

    def __init__(self, client: KubeClient, namespaces: Iterable[str], changed: Callable[[], None]) -> None:
        """``namespaces``: "" stands for all of them."""
        self._client, self._changed = client, changed
        self._places = [(kind, namespace) for kind in SPECS for namespace in namespaces]
        self._parts: dict[tuple[str, str], dict[Place, Known]] = {place: {} for place in self._places}
        self._listed: set[tuple[str, str]] = set()

    @property
    def complete(self) -> bool:
        """Was every kind listed, or refused?"""
        return len(self._listed) == len(self._places)

    def __iter__(self) -> Iterator[Known]:
        for part in self._parts.values():
            yield from list(part.values())

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for place in self._places:
                group.create_task(self._follow(*place))

    async def _follow(self, kind: str, namespace: str) -> None:
        said = ""
        while True:
            try:
                await self._watch(kind, namespace)
            except ApiError as error:
                if str(error) != said:
                    log.error("resources.refused", kind=kind, namespace=namespace or "all", error=str(error))
                said = str(error)
                if error.status == 404:  # the kind isn't installed: there are none
                    self._parts[kind, namespace].clear()
                self._listed.add((kind, namespace))
                self._tell()
            await asyncio.sleep(REFUSED_SECONDS)

    async def _watch(self, kind: str, namespace: str) -> None:
        part, fresh = self._parts[kind, namespace], None
        async with aclosing(ResourceWatch(self._client, served(kind), namespace).events()) as events:
            async for item in events:
                if item is Mark.BEGIN:
                    fresh = dict[Place, Known]()
                elif item is Mark.SYNCED:
                    part.clear()
                    part.update(fresh or {})
                    fresh = None
                    self._listed.add((kind, namespace))
                    self._tell()
                elif isinstance(item, Known):
                    self._take(item, part if fresh is None else fresh)
                    if fresh is None:
                        self._tell()

    def _take(self, item: Known, part: dict[Place, Known]) -> None:
        if item.gone:
            part.pop(item.place, None)
        else:
            part[item.place] = item

    def _tell(self) -> None:
        if self.complete:
            self._changed()
