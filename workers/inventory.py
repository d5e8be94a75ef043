"""What was applied, and who wants what: reads of Redis' copy of the inventory, and claims between applications.

The truth about ownership is in the cluster; this copy lets a push ask only for the objects that it names. A claim says
which application's current render wants an object, so that an object that moves between two is handed over, not deleted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Container, Iterable, Sequence

from redis.asyncio import Redis

from windlass import state, wire
from workers.plan import Entry

REMEMBER_SECONDS = 7 * 86400
"""How long an application that was refused an object is remembered; it says so again at each of its tries."""
SLICE = 1000
"""Keys asked for in one command: Redis serves nobody else meanwhile."""


async def read_entries(redis: Redis, application: str, keys: Sequence[str]) -> dict[str, Entry]:
    """The inventory's entries of ``keys``, those that it has."""
    entries: dict[str, Entry] = {}
    for start in range(0, len(keys), SLICE):
        part = keys[start : start + SLICE]
        values = await redis.hmget(state.objects_key(application), part)
        entries.update(
            (key, Entry.load(wire.raw(raw))) for key, raw in zip(part, values, strict=True) if raw is not None
        )
    return entries


async def read_all_entries(redis: Redis, application: str) -> dict[str, Entry]:
    """The whole inventory, in slices."""
    entries: dict[str, Entry] = {}
    async for key, raw in redis.hscan_iter(state.objects_key(application), count=SLICE):
        entries[wire.text(key)] = Entry.load(wire.raw(raw))
    return entries


Wake = Callable[[Collection[str]], Awaitable[None]]
"""Has these applications looked at again: what they wanted may be free."""


async def refused_by(redis: Redis, holder: str, keys: Container[str] | None = None) -> set[str]:
    """The applications that were refused one of ``keys`` (None: anything) because ``holder`` had it; each is told once."""
    rows = [wire.text(raw) for raw in await redis.smembers(state.refused_key(holder))]
    free = [row for row in rows if keys is None or row.partition(" ")[2] in keys]
    if free:
        await redis.srem(state.refused_key(holder), *free)
    return {row.partition(" ")[0] for row in free}


class Claims:
    """The claims of one application on the objects of one cluster."""

    def __init__(
        self, redis: Redis, cluster: str, application: str, *, yielding: Container[str], wake: Wake | None = None
    ) -> None:
        """``yielding`` are applications whose claims count for nothing: those that are gone, or that this one adopts.
        ``wake``: None for who only looks, and releases nothing."""
        self._redis, self._key, self._application = redis, state.claims_key(cluster), application
        self._yielding, self._wake = yielding, wake

    async def take(self, keys: Sequence[str]) -> dict[str, str]:
        """Claim ``keys``; returns those that another application has, with its name: who lets go of them says so.

        What another one only wants (it may have no right to it) is not claimed, and not refused: the API server decides.
        """
        refused: dict[str, str] = {}
        for start in range(0, len(keys), SLICE):
            part = keys[start : start + SLICE]
            pipeline = self._redis.pipeline(transaction=False)
            for key in part:
                pipeline.hsetnx(self._key, key, self._application)
            taken = [key for key, new in zip(part, await pipeline.execute(), strict=True) if not new]
            if taken:
                refused.update(await self._contest(taken))
        return refused

    async def assert_ours(self, keys: Sequence[str]) -> None:
        """Claim objects that the cluster says are ours and Git still wants: whoever claimed them meanwhile was early."""
        for start in range(0, len(keys), SLICE):
            part = keys[start : start + SLICE]
            await self._redis.hset(self._key, mapping=dict.fromkeys(part, self._application))

    async def _contest(self, keys: Sequence[str]) -> dict[str, str]:
        holders = await self._redis.hmget(self._key, keys)
        claimed: dict[str, str] = {}
        for key, raw in zip(keys, holders, strict=True):
            holder = wire.text(raw) if raw else self._application
            if holder in self._yielding:
                await self._redis.hset(self._key, key, self._application)
            elif holder != self._application:
                claimed[key] = holder
        pipeline = self._redis.pipeline(transaction=False)
        for key, holder in claimed.items():
            pipeline.hexists(state.objects_key(holder), key)
        applied = await pipeline.execute()
        refused = {key: holder for (key, holder), has in zip(claimed.items(), applied, strict=True) if has}
        for key, holder in refused.items():
            await self.wait_for(holder, key)
        return refused

    async def wait_for(self, holder: str, key: str) -> None:
        """``holder`` has ``key``: this application is woken when it lets go."""
        await self._redis.sadd(state.refused_key(holder), f"{self._application} {key}")
        await self._redis.expire(state.refused_key(holder), REMEMBER_SECONDS)

    async def release(self, keys: Iterable[str]) -> None:
        """Let go of ``keys``, those that are ours; who was refused one of them goes on at once."""
        wanted = list(keys)
        if not wanted:
            return
        holders = await self._redis.hmget(self._key, wanted)
        ours = [key for key, raw in zip(wanted, holders, strict=True) if raw == self._application.encode()]
        if ours:
            await self._redis.hdel(self._key, *ours)
        if self._wake and (waiting := await refused_by(self._redis, self._application, frozenset(wanted))):
            await self._wake(waiting)

    async def holders(self, keys: Sequence[str]) -> dict[str, str]:
        """Who claims ``keys``, where somebody does."""
        if not keys:
            return {}
        values = await self._redis.hmget(self._key, keys)
        return {key: wire.text(raw) for key, raw in zip(keys, values, strict=True) if raw is not None}
