"""One object, read for its health; and why it isn't healthy, where it is time to ask its pods and events for that."""

from __future__ import annotations

import asyncio
import time

import structlog

from windlass.documents.types import Application
from windlass.errors import WindlassError
from windlass.state import objects_key
from workers.cluster import ClusterAccess
from workers.context import Context
from workers.health import Status, diagnose, examine
from workers.health.status import in_progress, mapping, text
from workers.kube.errors import ApiError
from workers.kube.keys import ObjectKey
from workers.watch.checks import Checks

log = structlog.get_logger(__name__)

AT_ONCE = 8
"""Reads at once on one cluster: pushes come first."""
RETRY_SECONDS = 3.0
"""Until an object that could not be read is read again."""
ENDED = (Status.CURRENT, Status.FAILED)


class Reader:
    """Reads the objects of one cluster's applications."""

    def __init__(self, context: Context, access: ClusterAccess) -> None:
        self._context, self._access = context, access
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def read(self, application: Application, checks: Checks, key: ObjectKey) -> bool:
        """Read one object, and note what was found. Is there nothing more to wait for, since this reading?

        :raises RedisError: it is away.
        """
        before, asked = checks.of(key), time.monotonic()
        try:
            async with self._gate:
                async with self._access.limiter:
                    obj = await self._access.read(key)
                if obj is None:
                    await self._missing(application, checks, key, asked)
                    return False
                health = await examine(obj, self._context.health_rules(application))
                if checks.wants_why(key, health, time.monotonic()):
                    checks.why(key, await diagnose(self._access.client, obj), time.monotonic())
        except WindlassError as error:
            if isinstance(error, ApiError) and not error.retryable:
                log.info("health.unreadable", application=application.name, object=str(key), error=str(error))
                checks.unreadable(key, str(error), asked, time.monotonic())
            else:
                checks.later(key, time.monotonic() + RETRY_SECONDS)
            return False
        checks.found(key, health, text(mapping(obj, "metadata"), "resourceVersion"), asked, time.monotonic())
        return health.status in ENDED and (before is None or before.status is not health.status)

    async def _missing(self, application: Application, checks: Checks, key: ObjectKey, asked: float) -> None:
        """It isn't there: is it still wanted?"""
        if await self._context.redis.hexists(objects_key(application.name), str(key)):
            checks.found(key, in_progress("NotFound", "it isn't there"), "", asked, time.monotonic())
        else:
            checks.remove(key)
