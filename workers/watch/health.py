"""Health, followed: from the events of the watches to what an application's state, its commits and its dependents are told.

What must hold: a metadata event makes an object due, and nothing more is read than the objects that are due; kinds without
health cost nothing. What is written is fenced twice, by the lease on the cluster's watch and by the application's turn, so
that it never speaks of objects that a run has written since. Whoever takes over reads again what wasn't healthy, and compares the
rest with the versions in its first lists.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

import structlog
from redis.exceptions import RedisError

from windlass import wire
from windlass.documents import ordering
from windlass.documents.types import Application
from windlass.errors import WindlassError
from windlass.health import HEALTHY
from windlass.queue import Lease, Recorded
from windlass.state import objects_key
from workers.cluster import ClusterAccess
from workers.context import Context
from workers.health import has_health
from workers.kube.keys import ObjectKey, split_group_kind
from workers.kube.watch import Seen
from workers.watch.checks import Checks
from workers.watch.read import Reader
from workers.watch.sightings import Place
from workers.watch.tell import NEVER, Changed, Facts, Patient, Teller

log = structlog.get_logger(__name__)

BATCH = 200
"""Objects of one application that are read before its state is written."""
SCAN = 500
RETRY_SECONDS = 1.0
LISTS_SECONDS = 30.0
"""How long the first lists are awaited before everything is read."""
HOOK_SECONDS = 0.2
"""After an event of a hook that a run waits for: how soon that run goes on."""


class HealthFollower:
    """The health of one cluster's applications. A listener of its watches."""

    def __init__(self, context: Context, access: ClusterAccess, lease: Lease, changed: Changed) -> None:
        self._context, self._access = context, access
        self._reader, self._teller = Reader(context, access), Teller(context, access.document.name, lease, changed)
        self._patients: dict[str, Patient] = {}
        self._tasks: dict[Patient, asyncio.Task[None]] = {}
        self._here: dict[str, Application] = {}
        self._silent: dict[str, bool] = {}
        self._synced: set[Place] = set()
        self._listing: dict[Place, set[ObjectKey]] = {}
        self._unlearnt: set[str] = set()  # applications of which something was recorded lately
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
        if self._is_silent(place.group_kind):
            return
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
        if recorded.settled:
            patient.stale = True  # read again when something happens
            return
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
                facts, keys = await self._teller.facts(name), await self._inventory(name)
                if name not in self._unlearnt:
                    break
            if name in self._here:
                self._learnt(name, facts, keys)

    def _learnt(self, name: str, facts: Facts, keys: list[ObjectKey]) -> None:
        patient, now = self._patients.get(name), time.monotonic()
        # After a loss of Redis' memory turns are counted anew, but never begin at the same time.
        if patient is not None and (patient.turn, patient.facts.health.began) == (facts.turn, facts.health.began):
            patient.checks.expect([key for key in keys if key not in patient.checks], now)
            for key in set(patient.checks) - set(keys):
                patient.checks.saw(key, "", now)
        else:
            checks = Checks(ordering.timeout(self._here[name].spec.sync.timeout))
            self._patients[name] = Patient(checks, facts)
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

    async def _follow(self, name: str, patient: Patient) -> None:
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

    async def _look(self, application: Application, patient: Patient) -> None:
        """Read what is due, and say what follows."""
        checks, now = patient.checks, time.monotonic()
        if patient.stale:
            patient.stale = False
            patient.facts = await self._teller.facts(application.name)
        if checks.compare_at is not None and checks.compare_at <= now:
            same = checks.settle(patient.facts.health.seen, now)
            log.info("health.compared", application=application.name, same=same)
        if patient.nudge_at <= now:
            patient.nudge_at = NEVER
            await self._teller.nudge(application, "a hook's state changed")
        due = checks.due(now, BATCH)
        ended = await asyncio.gather(*(self._reader.read(application, checks, key) for key in due))
        await self._teller.ended(application, patient, [key for key, end in zip(due, ended, strict=True) if end])
        if not patient.stale:
            await self._teller.tell(application.name, patient)


def _rules(application: Application) -> tuple[object, ...]:
    return application.spec.health, application.spec.sync.timeout


def _in(place: Place, key: ObjectKey) -> bool:
    return place.group_kind == key.group_kind and place.namespace in ("", key.namespace)
