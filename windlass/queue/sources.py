"""Sources and their generations: what was pushed, what waits, what runs. Every step is one atomic script.

Level-triggered: a job names its source and no commit. Never more than one job of a source waits, never two of its runs at
once; a push during a run makes exactly one more, at the run's end. Nothing is debounced, nothing waits on a timer.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import msgspec
import orjson
from redis.asyncio import Redis

from windlass.errors import LeaseLostError
from windlass.health import HealthState
from windlass.queue.leases import Lease, LeaseKeeper, clock
from windlass.queue.scripts import source as script
from windlass.state import HISTORY
from windlass.wire import text

REMEMBER_SECONDS = 3 * 86400
"""How long a delivery is remembered; forges redeliver for a day or two."""
CHANGED = "windlass:changed"
"""A set: the applications whose state or health is another one than the statuses of custom resources say."""
CHANGED_AT_ONCE = 1000
RECORDED = "windlass:recorded"
"""The channel on which every record of an application's run is announced (see `Recorded`)."""


class Mark(msgspec.Struct, frozen=True):
    """One source that a delivery names. ``commit`` is a hint; "" for a nudge that names none."""

    source: str
    commit: str
    before: str
    description: str
    digest: str
    dirty: tuple[str, ...] = ()
    polled: str = ""  # the tip that a poll saw: no hint, since nobody has signed it
    keep: int = 20  # hints that are kept; of a branch only the newest counts


class Marked(msgspec.Struct, frozen=True):
    source: str
    outcome: Literal["queued", "coalesced", "applied", "parked"]
    generation: int


class Hint(msgspec.Struct, frozen=True):
    """A verified push: what it said, and when it came (seconds since the epoch)."""

    commit: str
    before: str
    event: str
    received_at: float


class Seen(msgspec.Struct, frozen=True):
    """What Redis knows of a source, as far as a poll asks."""

    processed: str
    polled: str  # the tip for which a poll marked it last
    settled: bool  # nothing waits, nothing runs, and the last run ended without an error
    heard: float  # when a verified delivery named it last (seconds since the epoch); 0: never


class Run(msgspec.Struct, frozen=True):
    """A run of a source: what Redis knew of it when it began."""

    source: str
    job_id: str
    generation: int
    processed: str  # the tip compared last; every application outside ``dirty`` is equal to it
    documents: str  # the digest of the documents it was compared by
    attempts: int
    dirty: frozenset[str]
    hints: tuple[Hint, ...]
    followed: int  # changes when an application of the source begins to read other paths
    lease: Lease


class Busy(msgspec.Struct, frozen=True):
    """Somebody else holds the source."""

    wait_seconds: float


class Recorded(NamedTuple):
    """A record of an application's run, as it is published: the objects that were written, ``over`` with the run's last.
    ``turn``: which turn the application's health is in since. ``settled``: no health is to be found out about this run."""

    application: str
    over: bool
    turn: int
    objects: tuple[str, ...]
    settled: bool = False

    @classmethod
    def load(cls, message: bytes) -> Recorded:
        application, over, turn, *objects = message.decode().split("\n")
        return cls(application, over != "more", int(turn), tuple(objects), over == "settled")


class SourceQueue:
    """The queue as service, workers and CLI see it. Only workers, with a ``keeper``, can begin runs."""

    def __init__(self, redis: Redis, *, queue_name: str = "windlass", keeper: LeaseKeeper | None = None) -> None:
        self._redis, self._queue, self._keeper = redis, queue_name, keeper
        names = ("mark", "begin", "advance", "finish", "sweep", "record", "epoch", "health")
        self._scripts = {name: redis.register_script(script(name)) for name in names}

    async def mark(self, marks: Sequence[Mark], *, event: str, delivery: str, received_at: float) -> list[Marked]:
        """Remember a delivery and queue what it asks for, in one script. ``delivery`` identifies its signed bytes."""
        request = self._request(
            event=event, delivery=delivery, received_at=received_at, marks=marks, remember=REMEMBER_SECONDS
        )
        answers = orjson.loads(await self._scripts["mark"](args=[request]))
        return [Marked(mark.source, *answer) for mark, answer in zip(marks, answers, strict=True)]

    async def nudge(
        self, source: str, *, digest: str, reason: str, event: str = "", dirty: Iterable[str] = ()
    ) -> Marked:
        """Have a source looked at again, without a push; ``dirty`` applications are compared in any case."""
        mark = Mark(source, "", "", reason, digest, tuple(dirty))
        return (await self.mark([mark], event=event, delivery="", received_at=time.time()))[0]

    async def begin(self, job_id: str, source: str) -> Run | Busy | None:
        """Take the source's lease. None: another run has done what this job was queued for."""
        assert self._keeper is not None, "only a worker begins runs"
        since = clock()
        answer = await self._scripts["begin"](args=[job_id, source, int(self._keeper.seconds * 1000)])
        if answer[0] == b"busy":
            return Busy(answer[1] / 1000 + 0.005)
        if answer[0] == b"none":
            return None
        _, generation, token, processed, documents, attempts, dirty, hints, followed = answer
        return Run(
            source=source,
            job_id=job_id,
            generation=generation,
            processed=processed.decode(),
            documents=documents.decode(),
            attempts=attempts,
            dirty=frozenset(name.decode() for name in dirty),
            hints=tuple(_hints(hints)),
            followed=followed,
            lease=self._keeper.hold("source", source, token, since),
        )

    async def advance(
        self,
        run: Run,
        *,
        commit: str,
        documents: str,
        dirty: Iterable[str],
        forget: Iterable[str] = (),
    ) -> None:
        """The source was compared at ``commit``; ``dirty`` applications are behind it: their runs begin, and what they
        write may be known to nobody until they end (see `record`).

        :raises LeaseLostError: another worker has the source now.
        """
        request = self._request(
            source=run.source,
            token=str(run.lease.token),
            commit=commit,
            documents=documents,
            dirty=list(dirty),
            forget=list(forget),
        )
        if not await self._scripts["advance"](args=[request]):
            raise LeaseLostError(f"source {run.source} is somebody else's now")

    async def finish(self, run: Run, *, error: str = "", retry_in: float | None = None) -> int | None:
        """The run is over; returns the generation of the job that it queued, for what was pushed meanwhile.

        :raises LeaseLostError: another worker has the source now.
        """
        return await self._finish(run, error=error, retry_at=time.time() + retry_in if retry_in is not None else 0)

    async def hand_back(self, run: Run) -> None:
        """The run can't go on here: a job for it goes to the front of the queue."""
        await self._finish(run, hand_back=True)

    async def _finish(self, run: Run, *, error: str = "", retry_at: float = 0, hand_back: bool = False) -> int | None:
        request = self._request(
            source=run.source,
            token=str(run.lease.token),
            generation=run.generation,
            error=error[:2000],
            retry_at=retry_at,
            hand_back=hand_back,
        )
        run.lease.forget()
        queued = await self._scripts["finish"](args=[request])
        if queued == -1:
            raise LeaseLostError(f"source {run.source} is somebody else's now")
        return int(queued) or None

    async def generation(self, source: str) -> int:
        return int(await self._redis.hget(f"windlass:source:{source}", "gen") or 0)

    async def processed(self, source: str) -> str:
        """The tip of the source that was compared last."""
        return text(await self._redis.hget(f"windlass:source:{source}", "processed") or b"")

    async def digest(self, source: str) -> str:
        """The digest of the documents by which the source was last marked."""
        return text(await self._redis.hget(f"windlass:source:{source}", "digest") or b"")

    async def seen(self, sources: Sequence[str]) -> list[Seen]:
        """What is known of these sources, in their order."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for source in sources:
                fields = ["processed", "polled", "gen", "done", "error", "parked", "heard"]
                pipeline.hmget(f"windlass:source:{source}", fields)
            rows = [[text(value or b"") for value in row] for row in await pipeline.execute()]
        return [
            Seen(processed, polled, gen == done and not error and not parked, float(heard or 0))
            for processed, polled, gen, done, error, parked, heard in rows
        ]

    async def may_poll(self, repository: str, seconds: float) -> float:
        """Take the right to poll a repository, which nobody else has then for ``seconds``: 0. Or, if somebody has it,
        how long to wait for it."""
        key = f"windlass:poll:{repository}"
        if await self._redis.set(key, "1", nx=True, px=max(int(seconds * 1000), 1)):
            return 0.0
        return max(float(await self._redis.pttl(key)) / 1000, 0.05)

    async def put_off(self, repository: str, seconds: float) -> None:
        """Nobody polls it for so long: it asked for that."""
        await self._redis.set(f"windlass:poll:{repository}", "1", px=max(int(seconds * 1000), 1))

    async def due_retries(self, now: float) -> list[str]:
        """The sources whose retry is due. They stay due until they are nudged."""
        return [text(raw) for raw in await self._redis.zrangebyscore("windlass:retries", "-inf", now)]

    async def sweep(self, sources: Mapping[str, str]) -> list[str]:
        """Queue every source (id -> digest) whose generation is ahead and that no live job serves; returns those."""
        if not sources:
            return []
        return [raw.decode() for raw in await self._scripts["sweep"](args=[self._request(sources=dict(sources))])]

    async def epoch(self, *, fresh: bool = False, settle_seconds: float = 8.0) -> bool:
        """Has Redis lost its memory, or restarted, since somebody last asked? Then every source must be looked at.

        ``fresh``: nobody can have written by a lease of the lost memory, so nobody needs to wait for its end.
        """
        run_id = (await self._redis.info("server"))["run_id"]
        args = [run_id, "1" if fresh else "0", int(settle_seconds * 1000), uuid.uuid4().hex]
        return bool(await self._scripts["epoch"](args=args))

    async def record(
        self,
        lease: Lease,
        name: str,
        *,
        state: Mapping[str, str],
        set_objects: Mapping[str, bytes] | None = None,
        drop_objects: Sequence[str] = (),
        history: bytes = b"",
        clean: str | None = None,
        followed: Sequence[str] = (),
        whole: str = "",
        health: HealthState | None = None,
        turn: bool = False,
        ended: Sequence[str] = (),
        release: bool = False,
        settled: bytes = b"",
    ) -> None:
        """Write an application's state, under its lease. ``clean``: it is equal to that source now, and what was asked
        for (``whole``, as the run read it) is done. ``followed``: the sources of which it now reads other paths.
        ``turn``: objects that have health were written, and it is ``health`` now; else that is only kept if none is known.
        ``ended``: the commits of runs all of whose writes are known now. ``release``: the lease ends with it.
        ``settled``: the run's record as it is if the application is, and therefore stays, healthy.

        :raises LeaseLostError: another worker has the application now.
        """
        request = self._request(
            name=name,
            token=str(lease.token),
            state=dict(state),
            drop=list(drop_objects),
            history=history.decode(),
            keep=HISTORY,
            clean=clean or "",
            followed=list(followed),
            whole=whole,
            complete=clean is not None,
            health=health.dump().decode() if health is not None else "",
            turn=turn,
            ended=list(ended),
            release=release,
            settled=settled.decode(),
        )
        objects: list[str | bytes] = [part for pair in (set_objects or {}).items() for part in pair]
        if not await self._scripts["record"](args=[request, *objects]):
            raise LeaseLostError(f"application {name} is somebody else's now")
        if release:
            lease.forget()

    async def workers(self) -> int:
        """How many workers of this queue are alive, by RQ's register and their heartbeats."""
        names = await self._redis.smembers(f"rq:workers:{self._queue}")
        return int(await self._redis.exists(*names)) if names else 0

    async def health(
        self,
        lease: Lease,
        cluster: str,
        name: str,
        *,
        turn: int,
        health: HealthState,
        record: tuple[bytes, bytes] = (b"", b""),
    ) -> bool:
        """Write what the watcher of ``cluster`` found out about an application in this turn; False: there is a newer one.
        ``record``: a run's record as it was read, and as it is to be.

        :raises LeaseLostError: another worker watches the cluster now.
        """
        request = self._request(name=name, cluster=cluster, token=str(lease.token), turn=turn)
        kept = await self._scripts["health"](args=[request, health.dump(), *record])
        if not kept:
            raise LeaseLostError(f"the watch of {cluster} is somebody else's now")
        return int(kept) == 2

    async def changed(self) -> list[str]:
        """The applications of which a run or a watcher has said something since this was asked last."""
        taken = await self._redis.spop(CHANGED, CHANGED_AT_ONCE)
        return [text(raw) for raw in taken or ()]

    async def errors(self, sources: Sequence[str]) -> dict[str, str]:
        """Why these can't be followed, those that can't."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for source in sources:
                pipeline.hget(f"windlass:source:{source}", "error")
            answers = await pipeline.execute()
        return {source: text(error) for source, error in zip(sources, answers, strict=True) if error}

    async def source_state(self, source: str) -> dict[str, str]:
        """What Redis knows of a source, for people."""
        raw = await self._redis.hgetall(f"windlass:source:{source}")
        return {text(key): text(value) for key, value in raw.items()}

    def _request(self, **fields: Any) -> bytes:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return msgspec.json.encode({"queue": self._queue, "iso": now, **fields})


def _hints(raw: Iterable[bytes]) -> Iterator[Hint]:
    """What can't be read is no hint: the tip decides anyway."""
    for hint in raw:
        with contextlib.suppress(msgspec.DecodeError):
            yield msgspec.json.decode(hint, type=Hint)
