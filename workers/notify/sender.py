"""What waits to be told, told: each rule's notices in turn, the rules beside each other: who is away holds up nobody else.

What must hold: what a receiver refuses for good is given up, said in the log and shown by `windlass notifications`; all else is
tried again, later each time. No secret (the address is one) gets into either.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial

import structlog
from redis.exceptions import RedisError

from windlass import metrics
from windlass.documents.notification import Hook, Notification
from windlass.errors import PermanentError, TransientError, WindlassError
from windlass.queue.notices import Notice, Notices
from workers.context import Context
from workers.notify import deployments, formats
from workers.notify.formats import Request
from workers.notify.outward import Outward
from workers.promote.forge import ForgeAccess
from workers.services import stop

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
"""Between two looks for what other processes queued."""
CLAIMED_SECONDS = 60.0
"""After which a notice comes back from a worker that was killed."""
FIRST_RETRY, LONGEST_RETRY = 2.0, 900.0
LONGEST_PAUSE = 30.0
"""Seconds for which a rule rests after a failure, if the receiver names no time: the next notice may be taken."""
ATTEMPTS = 40
"""Eight hours or so: then it is no news any more."""


class Sender:
    """A worker's service; several share the notices."""

    def __init__(self, context: Context) -> None:
        self._context, self._notices = context, Notices(context.redis)
        self._outward, self._forge = Outward(), ForgeAccess(context.secrets, context.secret_key)
        self._telling: dict[str, asyncio.Task[None]] = {}
        self._pauses: dict[str, float] = {}

    async def run(self) -> None:
        """Tell what is due, for as long as the worker lives."""
        wake = self._context.news.wake
        try:
            while True:
                wake.clear()
                try:
                    await self._look()
                except RedisError as error:
                    log.warning("redis.unreachable", error=str(error))
                try:
                    await asyncio.wait_for(wake.wait(), LOOK_SECONDS)
                except TimeoutError:
                    continue
        finally:
            await stop(list(self._telling.values()))
            await self._outward.close()
            await self._forge.close()

    async def _look(self) -> None:
        now = time.monotonic()
        rules = [
            name
            for name in self._context.catalog.notifications
            if name not in self._telling and self._pauses.get(name, 0.0) <= now
        ]
        for name in await self._notices.due(rules) if rules else ():
            self._telling[name] = task = asyncio.create_task(self._tell_all(name))
            task.add_done_callback(partial(self._done, name))

    def _done(self, name: str, _: asyncio.Task[None]) -> None:
        del self._telling[name]

    async def _tell_all(self, name: str) -> None:
        try:
            while (rule := self._context.catalog.notifications.get(name)) is not None:
                notice = await self._notices.claim(name, seconds=CLAIMED_SECONDS)
                if notice is None or not await self._tell(rule, notice):
                    return
        except RedisError as error:
            log.warning("redis.unreachable", error=str(error))

    async def _tell(self, rule: Notification, notice: Notice) -> bool:
        """May the next one follow at once?"""
        found = notice.occurrence
        about = {"notification": rule.name, "about": found.promotion or found.application, "what": found.event}
        try:
            await self._send(rule, notice)
        except WindlassError as error:
            return await self._not_told(rule, notice, error, about)
        await self._notices.told(notice)
        metrics.NOTIFICATIONS.labels(rule.spec.to.kind, "told").inc()
        log.info("notification.told", **about, attempts=notice.attempts + 1)
        return True

    async def _not_told(self, rule: Notification, notice: Notice, error: WindlassError, about: dict[str, str]) -> bool:
        kind = rule.spec.to.kind
        if isinstance(error, TransientError) and notice.attempts + 1 < ATTEMPTS:
            wait = error.retry_after or min(FIRST_RETRY * 2**notice.attempts, LONGEST_RETRY)
            await self._notices.later(notice, wait)
            metrics.NOTIFICATIONS.labels(kind, "retried").inc()
            log.warning("notification.failed", **about, error=str(error), retry_in=wait)
            self._pauses[rule.name] = time.monotonic() + (error.retry_after or min(wait, LONGEST_PAUSE))
            return False
        await self._notices.give_up(notice, str(error))
        metrics.NOTIFICATIONS.labels(kind, "given_up").inc()
        log.error("notification.given_up", **about, error=str(error), attempts=notice.attempts + 1)
        return True

    async def _send(self, rule: Notification, notice: Notice) -> None:
        """
        :raises PermanentError: it would be refused again. :raises TransientError: worth trying again.
        """
        to, resolve = rule.spec.to, self._context.secrets.resolve
        if to.github_deployments is not None:
            repository = self._context.catalog.repositories.get(notice.occurrence.repository)
            if repository is None:
                raise PermanentError(f"there is no valid Repository {notice.occurrence.repository}")
            token = resolve(to.github_deployments.token).decode(errors="replace")
            await deployments.tell(
                self._forge.plain,
                repository,
                to.github_deployments,
                token,
                notice.occurrence,
                log_url=self._context.settings.url,
            )
            return
        hook = to.hook
        assert hook is not None, "the documents' rules hold"
        url = resolve(hook.url).decode(errors="replace")
        await self._outward.post(url, self._request(rule, notice), private=hook.private)

    def _request(self, rule: Notification, notice: Notice) -> Request:
        spec, hook = rule.spec, rule.spec.to.hook
        key = self._context.secrets.resolve(hook.key) if isinstance(hook, Hook) and hook.key is not None else None
        match spec.to.kind:
            case "slack":
                return formats.slack(spec, notice)
            case "teams":
                return formats.teams(spec, notice)
            case "discord":
                return formats.discord(spec, notice)
            case "cloudevents":
                return formats.cloudevent(spec, notice, key, self._source())
            case _:
                return formats.webhook(spec, notice, key)

    def _source(self) -> str:
        """This installation, as CloudEvents want it: a URI reference."""
        settings = self._context.settings
        return settings.url or f"/windlass/{settings.installation}".rstrip("/")
