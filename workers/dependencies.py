"""Applications that wait for others: what they still wait for (`spec.sync.dependsOn`), and who goes on when one is done, or
lets go of an object that another wants."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from windlass import state, wire
from windlass.documents import ordering
from windlass.documents.types import Application
from windlass.health import HEALTHY
from windlass.state import read_state
from workers.context import Context
from workers.health import Status, examine, has_health
from workers.kube.keys import ObjectKey


async def missing(context: Context, application: Application, goes_first: Callable[[str], bool]) -> list[str]:
    """What isn't yet as ``application`` asks for. ``goes_first``: is this one still to be done in the same run?"""
    found = []
    for dependency in ordering.dependencies(application.spec.sync.depends_on):
        name = dependency.application
        if goes_first(name) or (await read_state(context.redis, name)).phase != "Synced":
            found.append(f"{name} is applied")
        elif dependency.until == "healthy" and not await healthy(context, context.catalog.applications[name]):
            found.append(f"{name} is healthy")
    return found


async def healthy(context: Context, application: Application) -> bool:
    """Is every object of the application healthy now? Most often the watcher knows; else kinds that have health are read."""
    if (await read_state(context.redis, application.name)).health.status == HEALTHY:
        return True
    rules = context.health_rules(application)
    access = await context.clusters.get(context.catalog.clusters[application.spec.destination.cluster])
    names = [wire.text(raw) for raw in await context.redis.hkeys(state.objects_key(application.name))]
    keys = [key for key in map(ObjectKey.parse, names) if has_health(key.group, key.kind, rules)]

    async def is_current(key: ObjectKey) -> bool:
        async with access.limiter:
            obj = await access.read(key)
        return obj is not None and (await examine(obj, rules)).status is Status.CURRENT

    return all(await asyncio.gather(*map(is_current, keys)))


async def release(context: Context, done: str) -> None:
    """``done`` is applied: whoever waits for it, or gave up waiting, goes on at once."""
    for application in context.dependents.get(done, ()):
        if (await read_state(context.redis, application.name)).phase != "Synced":
            await wake(context, (application.name,), f"{done} is applied")


async def wake(context: Context, names: Collection[str], reason: str) -> None:
    """Have these applications compared again, those that there are."""
    for application in filter(None, map(context.catalog.applications.get, sorted(names))):
        view = context.catalog.sources[application.source.id]
        await context.queue.nudge(view.id, digest=view.digest, reason=reason, dirty=[application.name])
