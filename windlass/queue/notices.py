"""What is to be told, kept in Redis until it is: a queue of its own for each `Notification`, drained beside the jobs.

It is no RQ job on purpose: a thousand applications of one push must not take the reconciler's turns, and a chat that answers
slowly must not take its places. What must hold: the same thing is told once, however often it is seen; what was taken by a
process that died comes back; nothing that is kept here is a secret.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from redis.asyncio import Redis

from windlass.queue.scripts import source as script
from windlass.wire import raw, text

KEPT_SECONDS = 3 * 86400
"""For so long something may wait to be told."""
ONCE_SECONDS = 30 * 86400
"""For so long it is remembered that something was told."""
QUIET_SECONDS = 3600
"""What may come and go (degraded, failed, drift) is told again once it was not seen for so long."""
PASSING = frozenset({"degraded", "failed", "drift"})
ENDS = {"degraded": "healthy", "failed": "applied"}
"""After the one, the other is news again."""


class Occurrence(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that happened, to an application or to a promotion. ``at``: seconds since the epoch."""

    event: str
    at: float
    application: str = ""
    cluster: str = ""
    repository: str = ""  # the name of the Repository whose commit ``revision`` is
    revision: str = ""
    why: str = ""
    promotion: str = ""
    phase: str = ""  # of the promotion
    image: str = ""
    url: str = ""  # of the pull request
    what: str = ""  # tells apart what else is the same: which objects drifted

    def identity(self, rule: str) -> str:
        """Two of the same identity are the same news to this rule."""
        parts = (rule, self.event, self.application, self.revision, self.promotion, self.phase, self.image, self.what)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


class Notice(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one rule is to tell."""

    id: str
    rule: str
    occurrence: Occurrence
    attempts: int = 0


class Standing(NamedTuple):
    """What became of a rule's notices. ``error``: the last one that was given up, "" if the one after it was told."""

    waiting: int
    told: int
    given_up: int
    error: str


class Notices:
    """The queues of all rules."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._keep, self._claim = (redis.register_script(script(name)) for name in ("notice", "notice_claim"))

    async def keep(self, wanted: Iterable[tuple[str, Occurrence]]) -> int:
        """Queue what is news to these rules (rule, occurrence); how many were."""
        args: list[str | bytes | float] = [time.time(), KEPT_SECONDS]
        for rule, occurrence in wanted:
            notice = Notice(occurrence.identity(rule), rule, occurrence)
            ended = ENDS.get(occurrence.event)
            again = msgspec.structs.replace(occurrence, event=ended).identity(rule) if ended else ""
            remembered = QUIET_SECONDS if occurrence.event in PASSING else ONCE_SECONDS
            args += [rule, notice.id, remembered, again, msgspec.json.encode(notice)]
        return int(await self._keep(args=args)) if len(args) > 2 else 0

    async def claim(self, rule: str, *, seconds: float) -> Notice | None:
        """The next one that is due; it comes back after ``seconds`` unless it is settled by then."""
        now = time.time()
        found = await self._claim(args=[rule, now, now + seconds])
        if not found:
            return None
        try:
            return msgspec.json.decode(raw(found), type=Notice)
        except msgspec.DecodeError:  # nobody's: it expires, and is not claimed again before
            return None

    async def due(self, rules: Sequence[str]) -> list[str]:
        """Those of the rules that have something to tell now."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for rule in rules:
                pipeline.zcount(_queue(rule), "-inf", time.time())
            counts = await pipeline.execute()
        return [rule for rule, count in zip(rules, counts, strict=True) if count]

    async def told(self, notice: Notice) -> None:
        await self._settled(notice, "told", "")

    async def give_up(self, notice: Notice, error: str) -> None:
        """It can't be told; ``error`` says why, without any secret."""
        await self._settled(notice, "given_up", error[:300])

    async def later(self, notice: Notice, seconds: float) -> None:
        """Tell it after ``seconds``; the attempt counts."""
        more = msgspec.structs.replace(notice, attempts=notice.attempts + 1)
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.set(_key(notice.id), msgspec.json.encode(more), xx=True, keepttl=True)
            pipeline.zadd(_queue(notice.rule), {notice.id: time.time() + seconds}, xx=True)
            await pipeline.execute()

    async def standings(self, rules: Sequence[str]) -> list[Standing]:
        """What became of each rule's notices, in their order."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for rule in rules:
                pipeline.zcard(_queue(rule))
                pipeline.hgetall(_counts(rule))
            answers = await pipeline.execute()
        return [_standing(*answers[i * 2 : i * 2 + 2]) for i in range(len(rules))]

    async def _settled(self, notice: Notice, what: str, error: str) -> None:
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.zrem(_queue(notice.rule), notice.id)
            pipeline.delete(_key(notice.id))
            pipeline.hincrby(_counts(notice.rule), what, 1)
            pipeline.hset(_counts(notice.rule), "error", error)
            pipeline.expire(_counts(notice.rule), ONCE_SECONDS)
            await pipeline.execute()


def _standing(waiting: int, counts: Mapping[bytes, bytes]) -> Standing:
    found = {text(field): text(value) for field, value in counts.items()}
    return Standing(waiting, int(found.get("told", 0)), int(found.get("given_up", 0)), found.get("error", ""))


def _key(notice: str) -> str:
    return f"windlass:notice:{notice}"


def _queue(rule: str) -> str:
    return f"windlass:notices:{rule}"


def _counts(rule: str) -> str:
    return f"windlass:notices:{rule}:counts"
