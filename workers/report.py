"""Commit statuses on the forge: one a commit and cluster, aggregated over applications, at most one write a second.

What is to be said is kept in Redis until the forge has it, so that it outlives this process; saying it never holds up a run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp
import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from windlass.documents.catalog import SourceView
from windlass.documents.types import Application, Repository
from windlass.errors import PermanentError, TransientError, WindlassError
from windlass.forges import status
from windlass.health import HealthState, health_key
from windlass.wire import raw, text
from workers.application import Outcome
from workers.commit_status import SUPERSEDED, Replaced, Report, Standing, describe
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


KEEP = """
-- KEYS: the commit's reports, the commits that applications are at, DUE. ARGV: the request; then name and report in turn.
local r = cjson.decode(ARGV[1])
for i = 2, #ARGV, 2 do
  local name = ARGV[i]
  redis.call('HSET', KEYS[1], name, ARGV[i + 1])
  if r.begins then
    local field = name .. ' ' .. r.repository
    local before = redis.call('HGET', KEYS[2], field)
    redis.call('HSET', KEYS[2], field, r.commit)
    redis.call('HDEL', KEYS[1], name .. '/by')
    if before and before ~= r.commit then
      local other = r.repository .. ':' .. before .. ':' .. r.cluster
      local health = redis.call('GET', 'windlass:app:' .. name .. ':health') or '{}'
      if redis.call('HEXISTS', 'windlass:status:' .. other, name) == 1 then
        redis.call('HSET', 'windlass:status:' .. other, name .. '/by', '{"by":"' .. r.commit .. '","health":' .. health .. '}')
        redis.call('ZADD', KEYS[3], 'LT', r.now, other)
      end
    end
  end
end
if r.begins then redis.call('HDEL', KEYS[1], r.source) end
redis.call('EXPIRE', KEYS[1], r.keep)
if r.delay > 0 then
  redis.call('ZADD', KEYS[3], 'NX', r.now + r.delay, r.name)
else
  redis.call('ZADD', KEYS[3], 'LT', r.now, r.name)
end
"""
SAID = "/said"
"""Beside the reports: what the forge was told last."""


class Reporter:
    """Keeps what is to be said of each commit, and says it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._wake = asyncio.Event()

    @property
    def _redis(self) -> Redis:
        return self._context.redis

    async def started(
        self, repository: Repository, commit: str, applications: Iterable[Application], *, source: str
    ) -> None:
        """These applications are being applied; said only if it takes a while. Whatever commit they were at is replaced."""
        by_cluster: dict[str, dict[str, Report]] = {}
        applied = list(applications)
        self._context.news.started(repository.name, commit, applied)
        for app in applied:
            by_cluster.setdefault(app.spec.destination.cluster, {})[app.name] = Report("Syncing")
        await self._keep(repository, commit, by_cluster, source=source, delay=PENDING_AFTER)

    async def finished(
        self, repository: Repository, commit: str, outcomes: Iterable[Outcome], *, received: float | None
    ) -> None:
        """These runs ended. Seconds count from the webhook's arrival, where one came."""
        now = time.time()
        by_cluster: dict[str, dict[str, Report]] = {}
        ended = list(outcomes)
        for outcome in ended:
            seconds = now - received if received else outcome.seconds
            by_cluster.setdefault(outcome.cluster, {})[outcome.application] = Report(
                outcome.phase, round(seconds, 3), list(outcome.errors[:3]), now
            )
        await self._keep(repository, commit, by_cluster)
        await self._context.news.ended(repository.name, commit, ended)

    async def source_failed(self, view: SourceView, commit: str, error: str) -> None:
        """The commit could not be read, or is refused as it is: nothing of it is applied anywhere."""
        clusters = {application.spec.destination.cluster for application in view.applications}
        report = {_field(view.id): Report("Failed", errors=[error])}
        await self._keep(view.repository, commit, dict.fromkeys(clusters, report))
        await self._context.news.unreadable(view.repository.name, commit, view.applications, error)

    async def source_read(self, view: SourceView, commit: str) -> None:
        """The commit that could not be read was, and concerns no application."""
        for cluster in {application.spec.destination.cluster for application in view.applications}:
            name = f"{view.repository.name}:{commit}:{cluster}"
            if await self._redis.hdel(_key(name), _field(view.id)):
                await self._redis.zadd(DUE, {name: time.time()}, lt=True)
                self._wake.set()

    async def health_changed(self, application: str) -> None:
        """The commits that the application is at have something else to say, maybe."""
        await self._context.news.health_changed(application)
        document = self._context.catalog.applications.get(application)
        if document is None:
            return
        cluster = document.spec.destination.cluster
        for repository in dict.fromkeys(source.repository for source in document.spec.sources):
            if self._context.catalog.repositories[repository].spec.status is None:
                continue
            commit = await self._redis.hget(_at(cluster), f"{application} {repository}")
            if commit:
                await self._redis.zadd(DUE, {f"{repository}:{text(commit)}:{cluster}": time.time()}, lt=True)
                self._wake.set()

    async def _keep(
        self,
        repository: Repository,
        commit: str,
        by_cluster: Mapping[str, Mapping[str, Report]],
        *,
        source: str = "",
        delay: float = 0.0,
    ) -> None:
        """``source``: the one whose run begins."""
        if repository.spec.status is None:
            return
        for cluster, reports in by_cluster.items():
            name = f"{repository.name}:{commit}:{cluster}"
            request = {
                "name": name,
                "repository": repository.name,
                "commit": commit,
                "cluster": cluster,
                "begins": bool(source),
                "source": _field(source),
                "now": time.time(),
                "delay": delay,
                "keep": KEEP_SECONDS,
            }
            rows = [part for app, report in reports.items() for part in (app, msgspec.json.encode(report))]
            await self._redis.eval(KEEP, 3, _key(name), _at(cluster), DUE, msgspec.json.encode(request), *rows)
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
        kept = await self._redis.hgetall(_key(name))
        repository = self._context.catalog.repositories.get(repository_name)
        if not kept or repository is None or repository.spec.status is None:
            await self._redis.zrem(DUE, name)
            return
        fields = {text(field): value for field, value in kept.items()}
        said = text(fields.pop(SAID, b""))
        state, description = describe(await self._standings(fields))
        if f"{state} {description}" == said or (state == SUPERSEDED and not said):
            await self._settle(name, until)
            return
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
            await self._redis.hset(_key(name), SAID, f"{state} {description}")
            await self._redis.expire(_key(name), KEEP_SECONDS)
            await self._settle(name, until)

    async def _standings(self, fields: Mapping[str, object]) -> dict[str, Standing]:
        """The commit's applications, with the health that counts for it: today's, until another commit took its place."""
        said = {name: raw(value) for name, value in fields.items() if "/" not in name}
        reports = {name: msgspec.json.decode(value, type=Report) for name, value in said.items()}
        healths = await self._redis.mget([health_key(name) for name in reports]) if reports else []
        standings = {}
        for (name, report), health in zip(reports.items(), healths, strict=True):
            replaced = fields.get(f"{name}/by")
            if replaced is None:
                standings[name] = Standing(report, HealthState.load(raw(health) if health else None))
            else:
                found = msgspec.json.decode(raw(replaced), type=Replaced)
                standings[name] = Standing(report, found.health, found.by)
        return standings

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


def _at(cluster: str) -> str:
    """A hash: application and repository -> the commit of it that the application is at."""
    return f"windlass:status-at:{cluster}"


def _field(source: str) -> str:
    """The source's own report, beside those of applications: no application is named so."""
    return f"source {source}"
