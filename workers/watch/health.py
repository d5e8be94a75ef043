"""Health, followed: from the events of the watches to what an application's state, its commits and its dependents are told.

What must hold: a metadata event makes an object due, and nothing more is read than the objects that are due; kinds without
health cost nothing. What is written is fenced twice, by the lease on the cluster's watch and by the application's turn, so
that it never speaks of objects that a run has written since. Whoever takes over reads again what wasn't healthy, and compares the
rest with the versions in its first lists.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from typing import NamedTuple

import msgspec
import structlog
from redis.exceptions import RedisError

from windlass import wire
from windlass.documents import ordering
from windlass.documents.types import Application
from windlass.errors import WindlassError
from windlass.health import DEGRADED, HEALTHY, HealthState, health_key
from windlass.queue import Lease, Recorded
from windlass.state import RunRecord, Standing, application_key, objects_key
from workers.cluster import ClusterAccess
from workers.context import Context
from workers.dependencies import release
from workers.health import Status, diagnose, examine, has_health
from workers.health.status import in_progress, mapping, text
from workers.kube.errors import ApiError
from workers.kube.keys import ObjectKey, split_group_kind
from workers.kube.watch import Seen
from workers.watch.checks import Checks
from workers.watch.sightings import Place

log = structlog.get_logger(__name__)

BATCH = 200
"""Objects of one application that are read before its state is written."""
AT_ONCE = 8
"""Reads at once on one cluster: pushes come first."""
SCAN = 500
RETRY_SECONDS = 1.0
LISTS_SECONDS = 30.0
"""How long the first lists are awaited before everything is read."""
KEEP_SECONDS = 5.0
"""How soon it is written down that a healthy application's objects were looked at again."""
HOOK_SECONDS = 0.2
"""After an event of a hook that a run waits for: how soon that run goes on."""

TELL_SECONDS = 0.5
"""Between two writes of an application's health that stays what it is: counts and reasons change often."""
ENDED = frozenset({"Synced", "Failed", "Retrying"})
LONGEST_RECORD = 300

Changed = Callable[[str], Awaitable[None]]
"""Is told the application whose health changed."""


class Facts(NamedTuple):
    """What Redis says of an application."""

    turn: int
    health: HealthState
    record: bytes  # of its last run
    awaits: frozenset[str]  # what a run waits for


class _Patient:
    """One application's health, as this watcher knows it."""

    def __init__(self, checks: Checks, facts: Facts) -> None:
        self.checks, self.facts = checks, facts
        self.turn = facts.turn  # everything that was written up to this turn is known to be
        self.stale = False  # a run has recorded something since the facts were read
        self.told = float("-inf")  # when the state was written last
        self.tell_at = self.nudge_at = float("inf")

    @property
    def idle(self) -> bool:
        return self.checks.idle and not self.stale and min(self.tell_at, self.nudge_at) == float("inf")


class HealthFollower:
    """The health of one cluster's applications. A listener of its watches."""

    def __init__(self, context: Context, access: ClusterAccess, lease: Lease, changed: Changed) -> None:
        self._context, self._access, self._lease, self._changed = context, access, lease, changed
        self._patients: dict[str, _Patient] = {}
        self._tasks: dict[_Patient, asyncio.Task[None]] = {}
        self._here: dict[str, Application] = {}
        self._silent: dict[str, bool] = {}
        self._synced: set[Place] = set()
        self._listing: dict[Place, set[ObjectKey]] = {}
        self._unlearnt: set[str] = set()  # applications of which something was recorded lately
        self._gate = asyncio.Semaphore(AT_ONCE)
        self.documents()

    # -- what is heard --------------------------------------------------------------------------------------------

    def begin(self, place: Place) -> None:
        self._synced.discard(place)
        self._listing[place] = set()

    def seen(self, place: Place, seen: Seen) -> None:
        if self._is_silent(place.group_kind):
            return
        if not seen.gone and place in self._listing:
            self._listing[place].add(seen.key)
        for share in seen.shares:
            patient = self._patients.get(share.application)
            if patient is None:
                continue
            if seen.key in patient.checks:
                patient.checks.saw(seen.key, "" if seen.gone else seen.resource_version, time.monotonic())
            elif str(seen.key) in patient.facts.awaits:  # a hook
                patient.nudge_at = min(patient.nudge_at, time.monotonic() + HOOK_SECONDS)
            else:
                continue
            self._wake(share.application)

    def synced(self, place: Place) -> None:
        self._synced.add(place)
        there, now = self._listing.pop(place, set()), time.monotonic()
        for name, patient in self._patients.items():
            missing = [key for key in patient.checks if _in(place, key) and key not in there]
            for key in missing:
                patient.checks.saw(key, "", now)
            if patient.checks.compare_at is not None and self._all_listed(patient.checks):
                patient.checks.compare_at = now
            if missing or patient.checks.compare_at == now:
                self._wake(name)

    def lost(self, place: Place) -> None:
        self._synced.discard(place)
        self._listing.pop(place, None)

    def recorded(self, recorded: Recorded) -> None:
        """A run recorded what it wrote."""
        self._unlearnt.add(recorded.application)
        patient = self._patients.get(recorded.application)
        if patient is None:
            return
        now, application = time.monotonic(), self._here[recorded.application]
        written = [key for key in map(ObjectKey.parse, recorded.objects) if self._has_health(application, key)]
        patient.checks.written(written, now)
        if recorded.over:
            patient.checks.look_for_missing(now)
        patient.turn, patient.stale = recorded.turn, True
        self._wake(recorded.application)

    def documents(self) -> set[str]:
        """The documents changed. Returns the applications that are to be learnt: new ones, and those with other rules."""
        before, cluster = self._here, self._access.document.name
        self._here = {
            name: application
            for name, application in self._context.catalog.applications.items()
            if application.spec.destination.cluster == cluster
        }
        for name in before.keys() - self._here.keys():
            self._patients.pop(name, None)
        other = {name for name in before.keys() & self._here.keys() if _rules(before[name]) != _rules(self._here[name])}
        for name in other:
            self._patients.pop(name, None)
        self._silent.clear()
        return (self._here.keys() - before.keys()) | other

    # -- which objects --------------------------------------------------------------------------------------------

    def _is_silent(self, group_kind: str) -> bool:
        """Has no application here objects of this kind that have health?"""
        known = self._silent.get(group_kind)
        if known is None:
            kind = split_group_kind(group_kind)
            rules = (self._context.health_rules(application) for application in self._here.values())
            known = not has_health(*kind) and not any(one is not None and one.covers(*kind) for one in rules)
            self._silent[group_kind] = known
        return known

    def _has_health(self, application: Application, key: ObjectKey) -> bool:
        return not self._is_silent(key.group_kind) and has_health(
            key.group, key.kind, self._context.health_rules(application)
        )

    def _all_listed(self, checks: Checks) -> bool:
        return all({Place(key.group_kind), Place(key.group_kind, key.namespace)} & self._synced for key in checks)

    async def learn(self, applications: Collection[str] | None = None) -> None:
        """Which objects the applications (all, or these) have, and what was known of them.

        :raises RedisError: it is away.
        """
        for name in list(self._here) if applications is None else applications:
            while True:
                self._unlearnt.discard(name)
                facts, keys = await self._facts(name), await self._inventory(name)
                if name not in self._unlearnt:
                    break
            if name in self._here:
                self._learnt(name, facts, keys)

    def _learnt(self, name: str, facts: Facts, keys: list[ObjectKey]) -> None:
        patient, now = self._patients.get(name), time.monotonic()
        if patient is not None and patient.turn == facts.turn:
            patient.checks.expect([key for key in keys if key not in patient.checks], now)
        else:
            checks = Checks(ordering.timeout(self._here[name].spec.sync.timeout))
            self._patients[name] = _Patient(checks, facts)
            if facts.health.status == HEALTHY and keys:
                checks.expect(keys, now, trust=now if self._all_listed(checks) else now + LISTS_SECONDS)
            else:
                age = time.time() - facts.health.unsettled if facts.health.unsettled else None
                checks.expect(keys, now, since=None if age is None else now - age)
        self._wake(name)

    async def _inventory(self, name: str) -> list[ObjectKey]:
        """The application's objects that have health."""
        application, found = self._here[name], []
        async for raw, _ in self._context.redis.hscan_iter(objects_key(name), count=SCAN):
            key = ObjectKey.parse(wire.text(raw))
            if self._has_health(application, key):
                found.append(key)
        return found

    async def _facts(self, name: str) -> Facts:
        pipeline = self._context.redis.pipeline(transaction=True)
        pipeline.hmget(application_key(name), "turn", "last", "phase", "standing")
        pipeline.get(health_key(name))
        (turn, last, phase, standing), health = await pipeline.execute()
        awaits = msgspec.json.decode(standing, type=Standing).awaits if phase == b"Waiting" and standing else []
        return Facts(int(turn or 0), HealthState.load(health), last or b"", frozenset(awaits))

    # -- one application ------------------------------------------------------------------------------------------

    def _wake(self, name: str) -> None:
        """Have the application looked at: a task for as long as anything of it may be due."""
        patient = self._patients[name]
        task = self._tasks.get(patient)
        if task is None or task.done():
            self._tasks[patient] = asyncio.create_task(self._follow(name, patient))
        patient.checks.wake()

    async def run(self) -> None:
        """Until cancelled; then nothing of it goes on.

        :raises Exception: what ended an application's task: a mistake of ours.
        """
        try:
            while True:
                await asyncio.sleep(RETRY_SECONDS)
                for patient, task in list(self._tasks.items()):
                    if task.done():
                        del self._tasks[patient]
                        task.result()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _follow(self, name: str, patient: _Patient) -> None:
        while self._patients.get(name) is patient:
            try:
                await self._look(self._here[name], patient)
            except (RedisError, WindlassError) as error:
                log.warning("health.interrupted", application=name, error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            if patient.idle:
                return
            if not patient.stale:
                await patient.checks.wait(min(patient.tell_at, patient.nudge_at))

    async def _look(self, application: Application, patient: _Patient) -> None:
        """Read what is due, and say what follows."""
        checks, now = patient.checks, time.monotonic()
        if patient.stale:
            patient.stale = False
            patient.facts = await self._facts(application.name)
        if checks.compare_at is not None and checks.compare_at <= now:
            same = checks.settle(patient.facts.health.seen, now)
            log.info("health.compared", application=application.name, same=same)
        if patient.nudge_at <= now:
            patient.nudge_at = float("inf")
            await self._nudge(application, "a hook's state changed")
        due = checks.due(now, BATCH)
        settled = [key for key in await asyncio.gather(*(self._read(application, patient, key) for key in due)) if key]
        if patient.facts.awaits.intersection(settled) and self._go_on(patient):
            await self._nudge(application, f"{settled[0]} is no longer waited for")
        if not patient.stale:
            await self._tell(application, patient)

    # -- one object -----------------------------------------------------------------------------------------------

    async def _read(self, application: Application, patient: _Patient, key: ObjectKey) -> str:
        """Read one object. Answers with it, if there is nothing more to wait for since."""
        checks, asked = patient.checks, time.monotonic()
        before = checks.of(key)
        try:
            async with self._gate:
                async with self._access.limiter:
                    obj = await self._access.read(key)
                if obj is None:
                    await self._missing(application, checks, key, asked)
                    return ""
                health = await examine(obj, self._context.health_rules(application))
                if checks.wants_why(key, health, time.monotonic()):
                    checks.why(key, await diagnose(self._access.client, obj), time.monotonic())
        except ApiError as error:
            if not error.retryable:
                checks.unreadable(key, str(error), asked, time.monotonic())
                return ""
            checks.later(key, time.monotonic() + RETRY_SECONDS)
            return ""
        except WindlassError as error:
            log.info("health.unread", object=str(key), error=str(error))
            checks.later(key, time.monotonic() + RETRY_SECONDS)
            return ""
        checks.found(key, health, text(mapping(obj, "metadata"), "resourceVersion"), asked, time.monotonic())
        ended = health.status in (Status.CURRENT, Status.FAILED)
        return str(key) if ended and (before is None or before.status is not health.status) else ""

    async def _missing(self, application: Application, checks: Checks, key: ObjectKey, asked: float) -> None:
        """It isn't there: is it still wanted?"""
        if await self._context.redis.hexists(objects_key(application.name), str(key)):
            checks.found(key, in_progress("NotFound", "it isn't there"), "", asked, time.monotonic())
        else:
            checks.remove(key)

    # -- what follows ---------------------------------------------------------------------------------------------

    async def _tell(self, application: Application, patient: _Patient) -> None:
        """Write the application's health, if there is news: at once if it is another one, else not too often."""
        now, name, said = time.monotonic(), application.name, patient.facts.health
        wall = time.time()
        found = patient.checks.state(now, wall - now)
        if found is None:
            return
        found = msgspec.structs.replace(
            found,
            began=said.began or wall,
            since=said.since if said.status == found.status else wall,
            unsettled=said.unsettled if found.unhealthy and said.unsettled else found.unsettled,
            reached=said.reached or (wall if found.status == HEALTHY else 0.0),
        )
        record = _told(patient.facts.record, found)
        if found == said and record == patient.facts.record:
            patient.tell_at = float("inf")
            return
        if found.status == said.status and record == patient.facts.record:
            only_seen = msgspec.structs.replace(found, seen=said.seen) == said
            patient.tell_at = patient.told + (KEEP_SECONDS if only_seen else TELL_SECONDS)
            if now < patient.tell_at:
                return
        patient.tell_at = float("inf")
        written = patient.facts.record, record
        kept = await self._context.queue.health(
            self._lease, self._access.document.name, name, turn=patient.turn, health=found, record=written
        )
        if not kept:
            return  # a run has recorded more: its announcement is on the way
        patient.told, patient.facts = now, patient.facts._replace(health=found, record=record)
        if found.status != said.status:
            say = log.warning if found.status == DEGRADED else log.info
            say("health.changed", application=name, health=found.status, was=said.status or None, why=found.why or None)
        await self._changed(name)
        if found.status == HEALTHY != said.status:
            await release(self._context, name)

    def _go_on(self, patient: _Patient) -> bool:
        """Is everything that the application's run waits for settled, or can one of it not be any more?"""
        health = [patient.checks.of(ObjectKey.parse(key)) for key in patient.facts.awaits if "/" in key]
        statuses = {one.status if one is not None else Status.IN_PROGRESS for one in health}
        return Status.FAILED in statuses or statuses == {Status.CURRENT}

    async def _nudge(self, application: Application, reason: str) -> None:
        view = self._context.catalog.sources.get(application.source.id)
        if view is not None:
            await self._context.queue.nudge(view.id, digest=view.digest, reason=reason, dirty=[application.name])


def _told(raw: bytes, health: HealthState) -> bytes:
    """A run's record, with what became of it; unchanged where that is known already, or there is no telling yet."""
    try:
        record = msgspec.json.decode(raw, type=RunRecord) if raw else None
    except msgspec.DecodeError:
        record = None
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


def _rules(application: Application) -> tuple[object, ...]:
    return application.spec.health, application.spec.sync.timeout


def _in(place: Place, key: ObjectKey) -> bool:
    return place.group_kind == key.group_kind and place.namespace in ("", key.namespace)
