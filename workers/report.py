"""Commit statuses on the forge: one a commit and cluster, aggregated over applications, at most one write a second.

What is to be said is kept in Redis until the forge has it, so that it outlives this process; saying it never holds up a run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import aiohttp
import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from windlass.documents.types import Application, Repository
from windlass.errors import PermanentError, TransientError, WindlassError
from windlass.forges import status
from windlass.wire import text
from workers.application import Outcome
from workers.context import Context

log = structlog.get_logger(__name__)

PENDING_AFTER = 0.5
"""Seconds that a run may take before the forge is told that it is under way: most are done by then."""
EVERY = 1.0
"""Seconds between two writes of one commit's status."""
LOOK_EVERY = 5.0
KEEP_SECONDS = 7 * 86400
UNANSWERED = 30
"""Seconds after which a status is said again, if whoever said it did not live to see the answer."""
DUE = "windlass:statuses"
SETTLE = """
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if score and tonumber(score) == tonumber(ARGV[2]) then return redis.call('ZREM', KEYS[1], ARGV[1]) end
return 0
"""


class Report(msgspec.Struct, omit_defaults=True):
    """What one application has to say of a commit."""

    phase: str
    seconds: float = 0.0
    errors: list[str] = []


def aggregate(reports: dict[str, Report]) -> tuple[status.State, str]:
    """One state and one line (140 characters at most, GitHub's limit) for all applications of a commit on a cluster."""
    failed = {name: report for name, report in sorted(reports.items()) if report.phase in ("Failed", "Retrying")}
    pending = [name for name, report in reports.items() if report.phase in ("Syncing", "Superseded", "Waiting")]
    many = "1 application" if len(reports) == 1 else f"{len(reports)} applications"
    if failed:
        first = next(iter(failed.items()))
        more = (
            f" (+{sum(len(r.errors) for r in failed.values()) - 1} more)"
            if sum(len(r.errors) for r in failed.values()) > 1
            else ""
        )
        line = f"{first[0]}: {first[1].errors[0] if first[1].errors else 'failed'}"
        return "failure", line[: 140 - len(more)] + more
    if pending:
        return "pending", f"{len(reports) - len(pending)} of {many} applied"
    slowest = max((report.seconds for report in reports.values()), default=0.0)
    return "success", f"{many} applied in {_duration(slowest)}"


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


class Reporter:
    """Keeps what is to be said of each commit, and says it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._wake = asyncio.Event()

    @property
    def _redis(self) -> Redis:
        return self._context.redis

    async def started(self, repository: Repository, commit: str, applications: Iterable[Application]) -> None:
        """These applications are being applied; said only if it takes a while."""
        by_cluster: dict[str, dict[str, Report]] = {}
        for app in applications:
            by_cluster.setdefault(app.spec.destination.cluster, {})[app.name] = Report("Syncing")
        await self._keep(repository, commit, by_cluster, delay=PENDING_AFTER)

    async def finished(
        self, repository: Repository, commit: str, outcomes: Iterable[Outcome], *, received: float | None
    ) -> None:
        """These runs ended. Seconds count from the webhook's arrival, where one came."""
        now = time.time()
        by_cluster: dict[str, dict[str, Report]] = {}
        for outcome in outcomes:
            seconds = now - received if received else outcome.seconds
            by_cluster.setdefault(outcome.cluster, {})[outcome.application] = Report(
                outcome.phase, round(seconds, 3), list(outcome.errors[:3])
            )
        await self._keep(repository, commit, by_cluster, delay=0.0)

    async def _keep(
        self, repository: Repository, commit: str, by_cluster: dict[str, dict[str, Report]], *, delay: float
    ) -> None:
        if repository.spec.status is None:
            return
        pipeline = self._redis.pipeline(transaction=True)
        for cluster, reports in by_cluster.items():
            name = f"{repository.name}:{commit}:{cluster}"
            pipeline.hset(_key(name), mapping={app: msgspec.json.encode(report) for app, report in reports.items()})
            pipeline.expire(_key(name), KEEP_SECONDS)
            pipeline.zadd(DUE, {name: time.time() + delay}, lt=delay == 0.0, nx=delay > 0.0)
        await pipeline.execute()
        self._wake.set()

    async def run(self) -> None:
        """Say what is due, for as long as the worker lives."""
        said: dict[str, float] = {}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            while True:
                try:
                    wait = await self._say_due(session, said)
                except RedisError as error:
                    log.warning("redis.unreachable", error=str(error))
                    wait = EVERY
                self._wake.clear()
                try:
                    await asyncio.wait_for(self._wake.wait(), wait)
                except TimeoutError:
                    continue

    async def _say_due(self, session: aiohttp.ClientSession, said: dict[str, float]) -> float:
        """Says what is due; returns the seconds until something may be due again."""
        now = time.time()
        for name in [name for name, when in said.items() if now - when > EVERY]:
            del said[name]
        rows: Any = await self._redis.zrange(DUE, 0, 99, withscores=True)
        wait = LOOK_EVERY
        for member, score in rows:
            name = text(member)
            due = max(score, said.get(name, 0.0) + EVERY if name in said else 0.0)
            if due > now:
                wait = min(wait, due - now)
                continue
            said[name] = now
            await self._say(session, name)
        return wait

    async def _say(self, session: aiohttp.ClientSession, name: str) -> None:
        repository_name, commit, cluster = name.split(":", 2)
        until = float(int(time.time() + UNANSWERED))
        await self._redis.zadd(DUE, {name: until}, xx=True)
        raw = await self._redis.hgetall(_key(name))
        repository = self._context.catalog.repositories.get(repository_name)
        if not raw or repository is None or repository.spec.status is None:
            await self._redis.zrem(DUE, name)
            return
        reports = {text(app): msgspec.json.decode(value, type=Report) for app, value in raw.items()}
        state, description = aggregate(reports)
        try:
            await self._post(session, repository, commit, state, f"windlass/{cluster}", description)
        except PermanentError as error:
            log.error("status.refused", repository=repository_name, commit=commit, error=str(error))
            await self._settle(name, until)
        except (WindlassError, aiohttp.ClientError, TimeoutError) as error:
            again = getattr(error, "retry_after", None) or LOOK_EVERY
            log.warning("status.failed", repository=repository_name, commit=commit, error=str(error), retry_in=again)
            await self._redis.zadd(DUE, {name: time.time() + again}, lt=True)
        else:
            await self._settle(name, until)

    async def _settle(self, name: str, until: float) -> None:
        """Said: unless something newer came to be said meanwhile."""
        await self._redis.eval(SETTLE, 1, DUE, name, str(until))

    async def _post(
        self,
        session: aiohttp.ClientSession,
        repository: Repository,
        commit: str,
        state: status.State,
        context: str,
        description: str,
    ) -> None:
        api = repository.spec.status
        if api is None or api.token is None:
            raise TransientError("no token for the forge's API")
        token = self._context.secrets.resolve(api.token).decode()
        started = time.perf_counter()
        await status.post_status(
            session,
            repository,
            commit,
            state=state,
            context=context,
            description=description,
            target_url=self._context.settings.url,
            token=token,
        )
        log.info(
            "status.posted",
            repository=repository.name,
            commit=commit,
            state=state,
            milliseconds=round((time.perf_counter() - started) * 1000, 1),
        )


def _key(name: str) -> str:
    return f"windlass:status:{name}"
