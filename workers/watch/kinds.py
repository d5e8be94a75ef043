"""What is watched on one cluster: one watch for each kind that applications own, or (where rights are limited to
namespaces) for each kind and namespace.

What must hold: a kind that is wanted is watched within a second of being wanted, and again whatever happened to it: its
definition deleted and back, its server away, rights given and taken. Whoever listens hears every watch begin, end its list,
and go.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Protocol

import structlog

from windlass.errors import WindlassError
from workers.cluster import ClusterAccess
from workers.kube.discovery import Resource
from workers.kube.errors import ApiError
from workers.kube.keys import split_group_kind
from workers.kube.watch import FIRST_BACKOFF, Mark, Seen, Watch
from workers.watch.sightings import Place

log = structlog.get_logger(__name__)

LONGEST_BACKOFF = 5.0
LOOK_SECONDS = 0.5
"""How soon a new namespace is watched where rights are limited to namespaces."""


class Listener(Protocol):
    """Who hears what the watches of one cluster see. It is called in the loop, and must be quick."""

    def begin(self, place: Place) -> None:
        """A list of everything in ``place`` begins."""

    def seen(self, place: Place, seen: Seen) -> None:
        """One object, as it is or (``seen.gone``) was."""

    def synced(self, place: Place) -> None:
        """The list is whole; from here on, changes."""

    def lost(self, place: Place) -> None:
        """Nothing is known of ``place`` from here on."""


class Kinds:
    """The watches of one cluster."""

    def __init__(
        self, access: ClusterAccess, listeners: Iterable[Listener], *, still_wanted: Callable[[str], Awaitable[bool]]
    ) -> None:
        """``still_wanted`` says whether any application has objects of a group kind that the cluster doesn't serve."""
        self._access, self._listeners, self._still_wanted = access, tuple(listeners), still_wanted
        self._wanted: dict[str, set[str]] = {}  # group kind -> the namespaces in which its objects are
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._more = asyncio.Event()

    def want(self, places: Iterable[Place]) -> None:
        """Watch these from now on, if they aren't watched already."""
        for place in places:
            namespaces = self._wanted.setdefault(place.group_kind, set())
            if place.namespace not in namespaces:
                namespaces.add(place.namespace)
                self._more.set()

    @property
    def watched(self) -> frozenset[str]:
        """The group kinds that are watched, or tried to be."""
        return frozenset(self._tasks)

    async def run(self) -> None:
        """Watch, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    for group_kind in self._wanted.keys() - self._tasks.keys():
                        self._tasks[group_kind] = group.create_task(self._watch(group_kind))
                    self._more.clear()
                    await self._more.wait()
        finally:
            self._tasks.clear()

    async def _watch(self, group_kind: str) -> None:
        """One kind, for as long as it is wanted."""
        log.info("watch.kind", cluster=self._access.document.name, kind=group_kind)
        tries = 0
        try:
            while True:
                resource = await self._resource(group_kind)
                if resource is not None:
                    tries = 0 if await self._follow(resource) else tries
                elif not await self._still_wanted(group_kind):
                    break
                longest = min(FIRST_BACKOFF * 2**tries, LONGEST_BACKOFF)
                tries += 1
                await asyncio.sleep(longest * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load
        finally:
            self._tasks.pop(group_kind, None)
            self._wanted.pop(group_kind, None)

    async def _resource(self, group_kind: str) -> Resource | None:
        try:
            resource = await self._access.discovery.preferred(*split_group_kind(group_kind))
        except WindlassError as error:
            log.warning("watch.no_discovery", cluster=self._access.document.name, error=str(error))
            return None
        return resource if resource is not None and "watch" in resource.verbs else None

    async def _follow(self, resource: Resource) -> bool:
        """Everything that happens to the kind, until its watch is refused. Was anything heard at all?"""
        place = Place(resource.group_kind)
        heard = False
        try:
            async with aclosing(Watch(self._access.client, resource).events()) as events:
                async for event in events:
                    heard = heard or event is Mark.SYNCED
                    self._tell(place, event)
        except ApiError as error:
            if error.status == 403 and resource.namespaced:
                return await self._follow_namespaces(resource)
            log.warning("watch.refused", kind=resource.group_kind, error=str(error))
            if error.missing:
                self._access.discovery.forget(resource)
        finally:
            self._lost(place)
        return heard

    async def _follow_namespaces(self, resource: Resource) -> bool:
        """The same, one watch for each namespace in which the kind's objects are. One that is refused is tried again."""
        log.info("watch.by_namespace", kind=resource.group_kind)
        running: set[str] = set()
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    for namespace in self._wanted[resource.group_kind] - running - {""}:
                        running.add(namespace)
                        group.create_task(self._follow_namespace(resource, namespace))
                    await asyncio.sleep(LOOK_SECONDS)
        except* ApiError:
            self._access.discovery.forget(resource)
        return True

    async def _follow_namespace(self, resource: Resource, namespace: str) -> None:
        """
        :raises ApiError: there is no such kind any more.
        """
        place = Place(resource.group_kind, namespace)
        while True:
            try:
                async with aclosing(Watch(self._access.client, resource, namespace).events()) as events:
                    async for event in events:
                        self._tell(place, event)
            except ApiError as error:
                log.warning("watch.refused", kind=resource.group_kind, namespace=namespace, error=str(error))
                if error.status != 403:
                    raise
            finally:
                self._lost(place)
            await asyncio.sleep(LONGEST_BACKOFF * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load

    def _tell(self, place: Place, event: Seen | Mark) -> None:
        for listener in self._listeners:
            if isinstance(event, Seen):
                listener.seen(place, event)
            elif event is Mark.BEGIN:
                listener.begin(place)
            else:
                listener.synced(place)

    def _lost(self, place: Place) -> None:
        for listener in self._listeners:
            listener.lost(place)
