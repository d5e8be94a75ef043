"""Registries that can't call are polled: seldom, one worker at a time, each image of a promotion for itself.

What must hold: what a poll finds goes the way of a webhook's event; a registry that doesn't answer, or asks for patience, is
asked ever less often, and keeps no other waiting.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import NamedTuple

import msgspec
import structlog
from redis.exceptions import RedisError

from windlass.documents import ordering
from windlass.documents.catalog import Catalog
from windlass.documents.registry import Registry, RegistrySpec
from windlass.errors import TransientError, WindlassError
from windlass.queue.promotions import note, seal_of
from windlass.registries import Scope, image_name
from windlass.tag_policy import Policy
from workers.context import Context
from workers.registry.access import Access
from workers.registry.api import RegistryApi
from workers.registry.look import Follows, Memory, look

log = structlog.get_logger(__name__)

EVENT = "registry-poll"
JITTER = 0.2
TICK_SECONDS = 1.0
LONGEST_PAUSE = 3600.0
"""Between two polls of a registry that fails; a document may ask for longer ones of any."""
REMEMBERED = 7 * 86400
"""Seconds for which it is remembered what was found; then an image that nobody asks for any more is forgotten."""


class Polled(NamedTuple):
    """An image, the promotions that follow it, and the document that says how its registry is asked."""

    image: str
    registry: Registry
    follows: tuple[Follows, ...]

    @property
    def seconds(self) -> float:
        return ordering.seconds(self.registry.spec.poll or "") or LONGEST_PAUSE


class RegistryPoller:
    """One a worker; several share the images between them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._apis: dict[str, tuple[RegistrySpec, RegistryApi]] = {}
        self._due: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._found: tuple[str, dict[str, Polled]] = ("", {})

    async def run(self) -> None:
        """Poll what is due, for as long as the worker runs. The first polls are spread over one interval."""
        running: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                await asyncio.sleep(TICK_SECONDS)
                running = {image: task for image, task in running.items() if not task.done()}
                catalog = self._context.catalog
                if self._found[0] != catalog.digest:
                    self._found = catalog.digest, polled(catalog)
                now, images = time.monotonic(), self._found[1]
                for gone in self._due.keys() - images.keys():
                    del self._due[gone]
                for image, one in images.items():
                    due = self._due.setdefault(image, now + random.uniform(0, one.seconds))  # noqa: S311
                    if now >= due and image not in running:
                        running[image] = asyncio.create_task(self._poll(one))
        finally:
            for task in running.values():
                task.cancel()
            await asyncio.gather(*running.values(), return_exceptions=True)
            for _, api in self._apis.values():
                await api.close()
            self._apis.clear()

    async def _poll(self, one: Polled) -> None:
        """Look once, if it is this worker's turn; then the next look is due."""
        pause = min(one.seconds * 2 ** min(self._failures.get(one.image, 0), 16), max(one.seconds, LONGEST_PAUSE))
        wait = pause * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
        try:
            if taken := await self._context.queue.may_poll(f"registry:{one.image}", wait):
                wait = taken
                return
            await self._look(one)
            self._failures.pop(one.image, None)
        except (WindlassError, RedisError) as error:
            self._failures[one.image] = self._failures.get(one.image, 0) + 1
            if isinstance(error, TransientError) and (error.retry_after or 0.0) > wait:
                wait = error.retry_after or 0.0
                await self._context.queue.put_off(f"registry:{one.image}", wait)
            log.warning("registry.poll_failed", image=one.image, error=str(error), next_in=round(wait, 1))
        except Exception:  # whatever it is, it must not end the polling of the others
            self._failures[one.image] = self._failures.get(one.image, 0) + 1
            log.exception("registry.poll_failed", image=one.image)
        finally:
            self._due[one.image] = time.monotonic() + wait

    async def _look(self, one: Polled) -> None:
        key = f"windlass:registry:{one.image}"
        before = await self._read(key)

        async def keep(memory: Memory) -> None:
            await self._context.redis.set(key, msgspec.json.encode(memory), ex=REMEMBERED)

        found = await look(await self._api(one.registry), one.image, one.follows, before, keep)
        if found.memory == before:
            await self._context.redis.expire(key, REMEMBERED)
            return
        if found.noted:
            seal = seal_of(self._context.secret_key)
            await note(self._context.queue, found.noted, seal=seal, event=EVENT, delivery="", received_at=time.time())
        await keep(found.memory)  # after it was said: if not, it is said once more

    async def _read(self, key: str) -> Memory:
        """What can't be read was never written."""
        try:
            return msgspec.json.decode(await self._context.redis.get(key) or b"{}", type=Memory)
        except msgspec.DecodeError:
            return Memory()

    async def _api(self, document: Registry) -> RegistryApi:
        known = self._apis.get(document.name)
        if known is None or known[0] != document.spec:
            self._apis[document.name] = document.spec, RegistryApi(Access(document.spec, self._context.secrets))
            if known is not None:
                await known[1].close()
        return self._apis[document.name][1]


def polled(catalog: Catalog) -> dict[str, Polled]:
    """What these documents have polled, by image; of several registries that name it the first counts."""
    asked = [(document, Scope(document.spec.images)) for document in catalog.registries.values() if document.spec.poll]
    follows: dict[str, list[Follows]] = {}
    for view in catalog.promotions.values():
        image = image_name(view.promotion.spec.image)
        if image is not None:
            follows.setdefault(image, []).append(Follows(view, Policy(view.promotion.spec.policy)))
    found = {}
    for image, members in follows.items():
        document = next((document for document, scope in asked if scope.covers(image)), None)
        if document is not None:
            found[image] = Polled(image, document, tuple(members))
    return found
