"""What a run of an application leaves in Redis, under its lease: each object's hash as it is applied, and how the run ended.

What must hold: whoever comes next continues from what is recorded here; who lost the lease records nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict

import msgspec

from windlass.documents.types import Application
from windlass.errors import LeaseLostError
from windlass.health import HEALTHY, HealthState, begun, nothing_to_wait_for
from windlass.queue import Lease
from windlass.state import ApplicationState
from workers.context import Context
from workers.ending import Ending, Verdict
from workers.health import has_health
from workers.kube.keys import ObjectKey
from workers.plan import Entry
from workers.writes import Progress


class HealthNews(TypedDict):
    """What `SourceQueue.record` is told of health."""

    health: HealthState | None
    turn: bool


class Recorder:
    """Writes down one run."""

    def __init__(
        self, context: Context, application: Application, state: ApplicationState, progress: Progress, lease: Lease
    ) -> None:
        self._context, self._application, self._state = context, application, state
        self._progress, self._lease = progress, lease
        self._waits_for_health = False

    async def save_progress(self) -> None:
        """What was applied until now.

        :raises LeaseLostError: the application is somebody else's. :raises RedisError: nothing can be recorded.
        """
        health = self._health(self._progress.done, complete=False)
        done, self._progress.done = self._progress.done, {}
        name = self._application.name
        await self._context.queue.record(self._lease, name, state={}, set_objects=done, **health)
        if self._lease.lost:
            raise LeaseLostError(f"application {name} is somebody else's now")

    async def save(
        self,
        fields: dict[str, str],
        ended: Ending,
        *,
        moved: Mapping[str, Entry],
        trigger: str,
        tip: str,
        followed: Sequence[str],
        repeated: bool,
    ) -> None:
        """How it ended, and let go of the lease.

        ``moved``: objects that another file names now; ``trigger``: the source whose job this was, at ``tip``;
        ``followed``: sources of which other paths are read than before; ``repeated``: history has just this already.

        :raises LeaseLostError: somebody else holds the application. :raises RedisError: nothing can be recorded.
        """
        complete, record = ended.complete, self._progress.record
        recorded = (*self._progress.done, *(moved if not self._state.objects else ()))
        health = self._health(recorded, complete=complete)
        self._progress.done.update({name: entry.dump() for name, entry in moved.items()})
        fields |= {
            "phase": ended.phase,
            "attempted": " ".join(ended.attempted),
            "attempts": str(ended.attempts),
            "standing": msgspec.json.encode(ended.standing).decode(),
            "yields": str(self._state.yields + 1) if ended.verdict is Verdict.SUPERSEDED else "0",
            "last": msgspec.json.encode(record).decode(),
        }
        await self._context.queue.record(
            self._lease,
            self._application.name,
            state=fields,
            set_objects=self._progress.done,
            drop_objects=self._progress.gone,
            history=b"" if repeated else msgspec.json.encode(record),
            clean=trigger if complete or ended.verdict is Verdict.RESTS else None,
            whole=self._state.whole,
            followed=followed,
            ended=(tip, *self._state.begun) if complete else (tip,),
            release=True,
            settled=self._settled(health) if complete else b"",
            **health,
        )

    def _health(self, recorded: Iterable[str], *, complete: bool) -> HealthNews:
        """What the objects that are about to be recorded mean for the application's health (`windlass.health`)."""
        rules = self._context.health_rules(self._application)
        kinds = {(key.group, key.kind) for key in map(ObjectKey.parse, recorded)}
        if any(has_health(*kind, rules) for kind in kinds):
            self._waits_for_health = True
            return {"health": begun(time.time()), "turn": True}
        if complete and not self._state.objects and not self._waits_for_health:
            return {"health": nothing_to_wait_for(time.time()), "turn": False}
        return {"health": None, "turn": False}

    def _settled(self, health: HealthNews) -> bytes:
        """The record of a complete run that changed nothing that has health, as it is where all was healthy before."""
        if health["turn"] or self._waits_for_health or self._progress.gone or self._progress.record.phase != "Synced":
            return b""
        record = msgspec.structs.replace(self._progress.record, health=HEALTHY)
        record.durations = {**record.durations, "healthy": 0.0}
        return msgspec.json.encode(record)
