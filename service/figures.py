"""Figures of Redis, read when somebody scrapes them: how long the queue is, and how the applications are."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime
from itertools import islice

import structlog
from prometheus_client import Gauge
from redis.asyncio import Redis
from redis.exceptions import RedisError

from service.follow import Documents
from windlass.health import HealthState, health_key
from windlass.metrics import REGISTRY
from windlass.queue.rqjob import JOB_PREFIX
from windlass.state import application_key
from windlass.wire import text

log = structlog.get_logger(__name__)

BATCH = 500
"""Applications in one round trip."""
SETS = {"running": "wip", "failed": "failed", "scheduled": "scheduled", "finished": "finished"}
"""RQ's registries (sorted sets `rq:NAME:QUEUE`), by the state of their jobs."""
WORDS = frozenset(
    {"Syncing", "Waiting", "Synced", "Retrying", "Failed", "Held", "RolledBack", "OutOfSync"}
    | {"Healthy", "Progressing", "Degraded"}
)
"""Phases and health, as states hold them; anything else counts as Unknown."""

QUEUE_JOBS = Gauge("windlass_queue_jobs", "Jobs in the queue, by state.", ["state"], registry=REGISTRY)
QUEUE_OLDEST = Gauge("windlass_queue_oldest_seconds", "How long the oldest waiting job waits.", registry=REGISTRY)
APPLICATIONS = Gauge(
    "windlass_applications", "Applications, by phase and health.", ["phase", "health"], registry=REGISTRY
)
REDIS_UP = Gauge("windlass_redis_up", "1 if Redis answered at this scrape.", registry=REGISTRY)


class Figures:
    """Refreshes them."""

    def __init__(self, redis: Redis, queue: str, documents: Documents) -> None:
        self._redis, self._queue, self._documents = redis, queue, documents

    async def refresh(self) -> None:
        """Read them anew; where Redis is away, they are what they were, and `windlass_redis_up` is 0."""
        try:
            await self._read_queue()
            await self._read_applications()
        except (RedisError, OSError) as error:
            log.warning("redis.unreachable", error=type(error).__name__)
            REDIS_UP.set(0)
        else:
            REDIS_UP.set(1)

    async def _read_queue(self) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.llen(f"rq:queue:{self._queue}")
        pipeline.lindex(f"rq:queue:{self._queue}", 0)
        for name in SETS.values():
            pipeline.zcard(f"rq:{name}:{self._queue}")
        waiting, oldest, *sizes = await pipeline.execute()
        QUEUE_JOBS.labels("waiting").set(waiting)
        for state, size in zip(SETS, sizes, strict=True):
            QUEUE_JOBS.labels(state).set(size)
        QUEUE_OLDEST.set(await self._age(oldest) if oldest else 0)

    async def _age(self, job: bytes) -> float:
        enqueued = await self._redis.hget(JOB_PREFIX + job.decode(errors="replace"), "enqueued_at")
        return max(0.0, time.time() - _instant(text(enqueued))) if enqueued else 0.0

    async def _read_applications(self) -> None:
        names = iter(self._documents.applications)
        counts: Counter[tuple[str, str]] = Counter()
        while batch := list(islice(names, BATCH)):
            pipeline = self._redis.pipeline(transaction=False)
            for name in batch:
                pipeline.hget(application_key(name), "phase")
                pipeline.get(health_key(name))
            answers = await pipeline.execute()
            for phase, health in zip(answers[::2], answers[1::2], strict=True):
                counts[_word(phase), _word(HealthState.load(health).status.encode())] += 1
        APPLICATIONS.clear()
        for labels, count in counts.items():
            APPLICATIONS.labels(*labels).set(count)


def _word(value: bytes | None) -> str:
    """A label's value: a word as we write them, whatever somebody else wrote there."""
    word = (value or b"").decode(errors="replace")
    return word if word in WORDS else "Unknown"


def _instant(moment: str) -> float:
    """RQ's ISO 8601 in seconds since the epoch; now, if it is none."""
    try:
        return datetime.fromisoformat(moment).timestamp()
    except ValueError:
        return time.time()
