"""What follows from an application's health: its state says so, its last run's record, its commits, and who waited goes on.

What must hold: it is written under the lease on the cluster's watch and in the application's present turn (`windlass.health`),
and a run's record is only ever replaced by itself. What stays what it is isn't written again and again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

import msgspec
import structlog

from windlass import tracing
from windlass.documents.types import Application
from windlass.health import DEGRADED, HEALTHY, HealthState, health_key
from windlass.queue import Lease
from windlass.state import RunRecord, Standing, application_key
from workers.context import Context
from workers.dependencies import release
from workers.health import Status
from workers.kube.keys import ObjectKey
from workers.watch.checks import Checks

log = structlog.get_logger(__name__)

KEEP_SECONDS = 5.0
"""How soon it is written down that a healthy application's objects were looked at again: for who watches next."""
TELL_SECONDS = 0.5
"""Between two writes of a health that stays what it is: counts and reasons change often."""
ENDED = frozenset({"Synced", "Failed", "Retrying"})
LONGEST_RECORD = 300
NEVER = float("inf")

Changed = Callable[[str], Awaitable[None]]
"""Is told the application whose health changed."""


class Facts(NamedTuple):
    """What Redis says of an application."""

    turn: int
    health: HealthState
    record: bytes  # of its last run
    awaits: frozenset[str]  # what a run waits for


class Patient:
    """One application's health, as this watcher knows it."""

    def __init__(self, checks: Checks, facts: Facts) -> None:
        self.checks, self.facts = checks, facts
        self.turn = facts.turn  # everything that was written up to this turn is known to be
        self.stale = False  # a run has recorded something since the facts were read
        self.told = -NEVER  # when the state was written last
        self.tell_at = self.nudge_at = NEVER

    @property
    def idle(self) -> bool:
        """Is there nothing to do, unless something happens?"""
        return self.checks.idle and not self.stale and min(self.tell_at, self.nudge_at) == NEVER


class Teller:
    """Tells of the health of one cluster's applications."""

    def __init__(self, context: Context, cluster: str, lease: Lease, changed: Changed) -> None:
        self._context, self._cluster, self._lease, self._changed = context, cluster, lease, changed

    async def facts(self, name: str) -> Facts:
        """Read before the objects are: a turn may begin meanwhile."""
        pipeline = self._context.redis.pipeline(transaction=True)
        pipeline.hmget(application_key(name), "turn", "last", "phase", "standing")
        pipeline.get(health_key(name))
        (turn, last, phase, standing), health = await pipeline.execute()
        awaits: list[str] = []
        if phase == b"Waiting":
            with contextlib.suppress(msgspec.DecodeError):  # then it goes on by itself, a little later
                awaits = msgspec.json.decode(standing or b"{}", type=Standing).awaits
        return Facts(int(turn or 0), HealthState.load(health), last or b"", frozenset(awaits))

    async def tell(self, name: str, patient: Patient) -> None:
        """Write the application's health, if there is news: at once if it is another one.

        :raises LeaseLostError: another worker watches the cluster now.
        """
        now, wall, said = time.monotonic(), time.time(), patient.facts.health
        found = patient.checks.state(now, wall - now)
        if found is None or not patient.facts.record:  # not everything is read, or nothing was ever applied
            return
        found = _continued(found, said, wall)
        record = told(patient.facts.record, found)
        patient.tell_at = NEVER
        if record == patient.facts.record and found.status == said.status:
            if found == said:
                return
            only_seen = msgspec.structs.replace(found, seen=said.seen) == said
            at = patient.told + (KEEP_SECONDS if only_seen else TELL_SECONDS)
            if now < at:
                patient.tell_at = at
                return
        written = patient.facts.record, record
        if not await self._context.queue.health(
            self._lease, self._cluster, name, turn=patient.turn, health=found, record=written
        ):
            return  # a run has recorded more: its announcement is on the way
        if record != patient.facts.record:
            tracing.became_healthy(name, record)
        patient.told, patient.facts = now, patient.facts._replace(health=found, record=record)
        if found.status != said.status:
            say = log.warning if found.status == DEGRADED else log.info
            say("health.changed", application=name, health=found.status, was=said.status or None, why=found.why or None)
        await self._changed(name)
        if found.status == HEALTHY != said.status:
            await release(self._context, name)

    async def ended(self, application: Application, patient: Patient, keys: Iterable[ObjectKey]) -> None:
        """There is nothing more to wait for of ``keys``: a run that waited for the last of them goes on."""
        awaited = sorted(patient.facts.awaits.intersection(map(str, keys)))
        if not awaited:
            return
        health = [patient.checks.of(ObjectKey.parse(key)) for key in patient.facts.awaits if "/" in key]
        statuses = {one.status if one is not None else Status.IN_PROGRESS for one in health}
        if Status.FAILED in statuses or statuses == {Status.CURRENT}:
            await self.nudge(application, f"{awaited[0]} is not waited for any more")

    async def nudge(self, application: Application, reason: str) -> None:
        """Have a run that waits look again."""
        view = self._context.catalog.sources.get(application.source.id)
        if view is not None:
            await self._context.queue.nudge(view.id, digest=view.digest, reason=reason, dirty=[application.name])


def _continued(found: HealthState, said: HealthState, wall: float) -> HealthState:
    """With the times that go on from what was said before."""
    return msgspec.structs.replace(
        found,
        began=said.began or wall,
        since=said.since if said.status == found.status else wall,
        unsettled=said.unsettled if found.unhealthy and said.unsettled else found.unsettled,
        reached=said.reached or (wall if found.status == HEALTHY else 0.0),
    )


def told(raw: bytes, health: HealthState) -> bytes:
    """A run's record, with what became of it; unchanged where that is known already, or there is no telling yet."""
    try:
        record = msgspec.json.decode(raw, type=RunRecord) if raw else None
    except msgspec.DecodeError:
        return raw
    if (
        record is None
        or record.phase not in ENDED
        or record.health == HEALTHY
        or health.status not in (HEALTHY, DEGRADED)
    ):
        return raw
    record.health = str(health)[:LONGEST_RECORD]
    if health.status == HEALTHY:
        ended = record.started + record.durations.get("total", 0.0) / 1000
        record.durations["healthy"] = round(max(0.0, health.reached - ended) * 1000, 2)
    return msgspec.json.encode(record)
