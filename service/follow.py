"""The documents that the service works by, followed as they change; sources whose documents changed are looked at
again.

What must hold: a request always sees one whole version; a version that can't be read replaces nothing; what Redis
could not be told about a change is told when it is back.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog
from redis.exceptions import RedisError

from service.endpoints import Endpoint, endpoints
from service.speakers import Speakers
from windlass.documents.catalog import Catalog
from windlass.queue import Marked

log = structlog.get_logger(__name__)

EVERY = 1.0
"""Seconds between two looks at the documents."""


class Directory(Protocol):
    """What this module needs of `windlass.documents.directory.DocumentDirectory`."""

    def load(self) -> Catalog: ...
    def reload_if_changed(self) -> Catalog | None: ...


class Nudged(Protocol):
    """What this module needs of `windlass.queue.SourceQueue`."""

    async def nudge(self, source: str, *, digest: str, reason: str, event: str = "") -> Marked: ...


class Documents:
    """The current version, as the indexes that a request needs."""

    def __init__(self) -> None:
        self.loaded = False
        self.endpoints: Mapping[str, Endpoint] = {}
        self.applications: Sequence[str] = ()
        self.speakers = Speakers()
        self._digests: dict[str, str] = {}
        self._owed: dict[str, str] = {}

    def use(self, catalog: Catalog) -> None:
        """Work by this version from now on; sources that it changes are owed a look."""
        digests = {view.id: view.digest for view in catalog.sources.values()}
        if self.loaded:
            self._owed.update((name, d) for name, d in digests.items() if self._digests.get(name) != d)
        self.endpoints, self._digests, self.loaded = endpoints(catalog), digests, True
        self.applications = tuple(catalog.applications)
        self.speakers = Speakers.of(catalog)
        log.info("documents.used", digest=catalog.digest, endpoints=len(self.endpoints), sources=len(digests))
        # Thousands of documents live long: let no collection look at them while a delivery waits.
        gc.collect()
        gc.freeze()

    async def pay(self, queue: Nudged) -> None:
        """Have the sources looked at whose documents changed; those that Redis can't be told of stay owed."""
        for name in list(self._owed):
            if name in self._digests:
                await queue.nudge(name, digest=self._digests[name], reason="the documents changed")
            del self._owed[name]

    async def follow(self, directory: Directory, queue: Nudged) -> None:
        """Look for changes for as long as the service runs."""
        while True:
            await asyncio.sleep(EVERY)
            catalog = await asyncio.to_thread(directory.reload_if_changed)
            if catalog is not None:
                self.use(catalog)
            try:
                await self.pay(queue)
            except (RedisError, OSError) as error:
                log.warning("redis.unreachable", error=type(error).__name__)
