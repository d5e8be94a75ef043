"""Leases with fencing tokens, renewed on a thread of their own: a busy event loop must not lose what it holds.

Redis' script refuses state from an old token. The API server can't, so a holder's writes must end before the lease does:
`Lease.remaining` is the deadline to give them. It is counted from before the renewal was sent, on a clock that runs while
the machine or the process sleeps, so that a holder never believes longer than Redis does.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import structlog
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError

from windlass.queue.connections import connect
from windlass.queue.scripts import source

log = structlog.get_logger(__name__)

MARGIN = 0.25
"""Seconds before the lease's end at which a holder stops: the time that an answer may take to arrive."""

LOOK_SECONDS = 0.02
"""How often a lease that is held is asked for: who undoes drift holds an application's for some milliseconds."""


def clock() -> float:
    """Seconds; goes on while the process is stopped or the machine suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """What a holder holds. ``token`` grows with every lease given, so that the later holder always has the larger one."""

    def __init__(self, keeper: LeaseKeeper, key: str, token: int, deadline: float) -> None:
        self.key, self.token = key, token
        self._keeper, self._deadline, self._lost = keeper, deadline, False

    @property
    def lost(self) -> bool:
        return self._lost or clock() >= self._deadline

    def remaining(self) -> float:
        """Seconds in which a write may begin and end; 0 or less when there are none."""
        return -1.0 if self._lost else self._deadline - clock() - MARGIN

    def renewed(self, deadline: float) -> None:
        self._deadline = deadline

    def lose(self) -> None:
        self._lost = True

    async def release(self) -> None:
        """Give it up, so that nobody needs to wait for its end."""
        await self._keeper.release(self)

    def forget(self) -> None:
        """It was given up by a script: stop renewing it."""
        self._keeper.forget(self)


class LeaseKeeper:
    """Takes leases, and keeps them on a thread of its own."""

    def __init__(self, redis: AsyncRedis, url: str, *, seconds: float = 6.0) -> None:
        self.seconds = seconds
        self._redis, self._acquire = redis, redis.register_script(source("acquire"))
        self._release = redis.register_script(source("release"))
        self._sync = connect(url, seconds=seconds / 2, connect_seconds=seconds / 2)
        self._renew = self._sync.register_script(source("renew"))
        self._held: dict[str, Lease] = {}
        self._beats: list[Callable[[], None]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def every_beat(self, beat: Callable[[], None]) -> None:
        """Call ``beat`` on the keeper's thread, as often as leases are renewed."""
        self._beats.append(beat)

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=self.seconds)
        self._sync.close()

    def hold(self, kind: str, name: str, token: int, since: float) -> Lease:
        """Keep a lease that a script has just given; ``since`` is the `clock` before the script was sent."""
        lease = Lease(self, f"windlass:lease:{kind}:{name}", token, since + self.seconds)
        self._held[lease.key] = lease
        return lease

    async def acquire(self, kind: str, name: str, *, look_every: float = LOOK_SECONDS) -> Lease:
        """The lease of ``name``, when its present holder has let go of it (seen within ``look_every`` seconds) or died."""
        while True:
            since = clock()
            token, wait = await self._acquire(args=[kind, name, int(self.seconds * 1000)])
            if token:
                return self.hold(kind, name, int(token), since)
            await asyncio.sleep(min(wait / 1000, look_every) + 0.005)

    async def try_acquire(self, kind: str, name: str) -> Lease | None:
        """The lease of ``name``; None while somebody holds it."""
        since = clock()
        token, _ = await self._acquire(args=[kind, name, int(self.seconds * 1000)])
        return self.hold(kind, name, int(token), since) if token else None

    async def release(self, lease: Lease) -> None:
        if self._held.get(lease.key) is not lease:
            return  # a script has given it up, or somebody else has it
        self.forget(lease)
        await self._release(args=[lease.key, str(lease.token)])

    def forget(self, lease: Lease) -> None:
        if self._held.get(lease.key) is lease:
            del self._held[lease.key]

    def _run(self) -> None:
        while not self._stop.wait(self.seconds / 4):
            try:
                self._renew_all()
                for beat in self._beats:
                    beat()
            except RedisError as error:
                log.warning("leases.unreachable", error=str(error), held=len(self._held))

    def _renew_all(self) -> None:
        leases = list(self._held.values())
        if not leases:
            return
        since = clock()
        pairs = [part for lease in leases for part in (lease.key, str(lease.token))]
        answers = self._renew(args=[int(self.seconds * 1000), *pairs])
        for lease, held in zip(leases, answers, strict=True):
            if held:
                lease.renewed(since + self.seconds)
            else:
                lease.lose()
                self.forget(lease)
                log.error("lease.lost", key=lease.key)
