"""What the watches of one cluster say, brought together with the inventories of its applications: who is suspect, when to look.

What must hold: level-triggered. An event only makes an object a suspect; what is to be done is decided from what the cluster
showed last and what the inventory says then, again and again until they agree. A status update makes no suspect, so it
costs no request; what happened while nobody watched is found by comparing a whole list with the inventory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection

import msgspec
import structlog
from redis.exceptions import RedisError

from windlass import wire
from windlass.documents.types import Application
from windlass.errors import WindlassError
from windlass.queue import Recorded
from windlass.state import application_key, objects_key
from workers.cluster import ClusterAccess
from workers.context import Context
from workers.ignore import IgnoreRules
from workers.inventory import read_entries
from workers.kube.handoff import Left
from workers.kube.keys import ObjectKey
from workers.kube.watch import Seen
from workers.plan import Entry
from workers.watch.drift import Notice, Verdict, judge
from workers.watch.heal import Healer, Outcome, Result
from workers.watch.sightings import Place, Sightings, UnseenError
from workers.watch.suspects import Suspect, Suspects

log = structlog.get_logger(__name__)

SCAN = 500
"""Inventory entries in one step of a scan."""
LOOK = 1000
"""Suspects compared with the inventory at once: one request of Redis, some 10 ms of the loop."""
BATCH = 100
"""Suspects looked at in one hold of an application's lease: a push waits no longer than that."""
OURS_SECONDS = 2.0
"""After an own write's event, how long its record is waited for before anybody asks."""
RETRY_SECONDS = 1.0
BUSY_SECONDS = 0.1
"""How soon a lease that a run holds is tried again, if its end is not announced before."""
GATHER_SECONDS = 0.2
"""How long several lists that end at about the same time are waited for, to compare an inventory once."""


class Follower:
    """The drift of one cluster's applications. A listener of its watches."""

    def __init__(self, context: Context, access: ClusterAccess) -> None:
        self.sightings = Sightings(access.namespace, access.is_human, self._left)
        self._context, self._access = context, access
        self._healer = Healer(context, access, self.sightings)
        self._suspects: dict[str, Suspects] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._self_heal: dict[str, bool] = {}
        self._ignore: dict[str, IgnoreRules] = {}  # of the applications that have such rules
        self.documents()

    # -- what is heard --------------------------------------------------------------------------------------------

    def begin(self, place: Place) -> None:
        self.sightings.begin(place)

    def seen(self, place: Place, seen: Seen) -> None:
        for application, notice in self.sightings.saw(place, seen):
            if notice is not Notice.NOTHING and application in self._self_heal:
                delay = OURS_SECONDS if notice is Notice.LATER else 0.0
                self._of(application).add(str(seen.key), time.monotonic(), delay, seen.managers)
                self._wake(application)

    def synced(self, place: Place) -> None:
        self.sightings.synced(place)
        for application, suspects in self._suspects.items():
            if place.group_kind in suspects.kinds:
                suspects.compare_at = time.monotonic() + GATHER_SECONDS
                self._wake(application)

    def lost(self, place: Place) -> None:
        self.sightings.forget(place)

    def recorded(self, recorded: Recorded) -> set[Place]:
        """A run recorded what it applied; the places to watch from now on, if it is of this cluster and over.

        Before, nothing would be healed, and to hear of each of a first sync's own writes would only slow it.
        """
        if recorded.application not in self._self_heal:
            return set()
        suspects = self._of(recorded.application)
        suspects.places.update(map(Place.of, recorded.objects))
        if not recorded.over:
            return set()
        places, suspects.places = suspects.places, set()
        suspects.kinds.update(place.group_kind for place in places)
        suspects.look_now(time.monotonic())
        self._wake(recorded.application)
        return places

    def documents(self) -> set[str]:
        """The documents changed: which applications are here, and whether their drift is undone. Returns the new ones."""
        before, cluster = self._self_heal, self._access.document.name
        self._self_heal = {
            name: application.spec.sync.heals
            for name, application in self._context.catalog.applications.items()
            if application.spec.destination.cluster == cluster
        }
        here = (self._context.catalog.applications[name] for name in self._self_heal)
        self._ignore = {one.name: IgnoreRules.of(one) for one in here if one.spec.sync.ignore}
        for name in before.keys() - self._self_heal.keys():
            self._suspects.pop(name, None)
        for name, undone in self._self_heal.items():
            if name in before and before[name] != undone and name in self._suspects:
                self._suspects[name].compare_at = time.monotonic()
                self._wake(name)
        return self._self_heal.keys() - before.keys()

    def _left(self, application: str, key: ObjectKey) -> Left | None:
        rules = self._ignore.get(application)
        return rules.of_key(key) if rules else None

    # -- the inventories ------------------------------------------------------------------------------------------

    async def learn(self, applications: Collection[str] | None = None) -> set[Place]:
        """Where the applications' (all, or these) objects are, by their inventories, which are then compared.

        :raises RedisError: it is away.
        """
        places: set[Place] = set()
        for application in list(self._self_heal) if applications is None else applications:
            suspects, found = self._of(application), {Place.of(key) async for key, _ in self._scan(application)}
            suspects.kinds.update(place.group_kind for place in found)
            suspects.compare_at = time.monotonic() + GATHER_SECONDS
            self._wake(application)
            places |= found
        return places

    async def still_wanted(self, group_kind: str) -> bool:
        """Has any application objects of this kind?"""
        try:
            for application in list(self._self_heal):
                async for key, _ in self._scan(application, f"{group_kind}/*"):
                    if key:
                        return True
        except RedisError:
            return True
        for suspects in self._suspects.values():
            suspects.kinds.discard(group_kind)
        return False

    async def _scan(self, application: str, match: str | None = None) -> AsyncIterator[tuple[str, bytes]]:
        """The inventory's entries, a step at a time; one may come twice."""
        cursor = 0
        while True:
            cursor, page = await self._context.redis.hscan(objects_key(application), cursor, match=match, count=SCAN)
            assert isinstance(page, dict)
            for key, raw in page.items():
                yield wire.text(key), wire.raw(raw)
            if not cursor:
                return

    async def _compare(self, name: str, suspects: Suspects) -> None:
        """Everything that the inventory has beside what the lists showed: what happened while nobody watched."""
        suspects.compare_at = None
        count = 0
        async for key, raw in self._scan(name):
            count += 1
            try:
                verdict = judge(self.sightings.look(name, key), Entry.load(raw))
            except UnseenError:
                continue  # its list's end will ask for this again
            if verdict is not Verdict.EQUAL:
                suspects.add(key, time.monotonic())
        suspects.look_again(time.monotonic())
        said = await self._context.redis.hget(application_key(name), "drift")
        suspects.reported = wire.raw(said) if said else b""
        log.info("drift.compared", application=name, objects=count, suspects=len(suspects))

    # -- one application's suspects -------------------------------------------------------------------------------

    def _of(self, application: str) -> Suspects:
        return self._suspects.setdefault(application, Suspects())

    def _wake(self, application: str) -> None:
        """Have the application's suspects looked at: a task for as long as there are any."""
        task = self._tasks.get(application)
        if task is None or task.done():
            self._tasks[application] = asyncio.create_task(self._settle(application))
        self._suspects[application].wake()

    async def run(self) -> None:
        """Until cancelled; then nothing of it goes on.

        :raises Exception: what ended an application's task: a mistake of ours.
        """
        try:
            while True:
                await asyncio.sleep(RETRY_SECONDS)
                for name, task in list(self._tasks.items()):
                    if task.done():
                        del self._tasks[name]
                        task.result()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _settle(self, name: str) -> None:
        suspects = self._suspects[name]
        said = False
        while self._suspects.get(name) is suspects and not (said and suspects.settled):
            try:
                said = await self._turn(name, suspects)
            except (RedisError, WindlassError) as error:
                log.warning("drift.interrupted", application=name, error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            if not (said and suspects.settled):
                await suspects.wait()

    async def _turn(self, name: str, suspects: Suspects) -> bool:
        """What is due now. Does the application's state say all that there is to say?"""
        application = self._context.catalog.applications.get(name)
        if application is None:
            return True
        now = time.monotonic()
        if suspects.compare_at is not None and suspects.compare_at <= now:
            await self._compare(name, suspects)
        if due := suspects.due(time.monotonic(), LOOK):
            await self._look(application, suspects, due)
        suspects.fights.tidy(time.monotonic())
        return await self._report(application, suspects)

    async def _look(self, application: Application, suspects: Suspects, due: list[Suspect]) -> None:
        """Which of these are drift? Those are looked at once more, and undone, under the lease."""
        entries = await read_entries(self._context.redis, application.name, [suspect.key for suspect in due])
        now, drifted = time.monotonic(), []
        for suspect in due:
            try:
                verdict = judge(self.sightings.look(application.name, suspect.key), entries.get(suspect.key))
            except UnseenError:
                suspects.later(suspect, RETRY_SECONDS)
                continue
            if verdict is Verdict.EQUAL:
                suspects.clear(suspect)
            elif wait := suspects.fights.wait(suspect.key, now):
                suspects.not_before(suspect, wait)
            else:
                drifted.append(suspect)
        for start in range(0, len(drifted), BATCH):
            await self._heal(application, suspects, drifted[start : start + BATCH])

    async def _heal(self, application: Application, suspects: Suspects, drifted: list[Suspect]) -> None:
        began = time.monotonic()
        results = await self._healer.heal(application, drifted)
        if results is None:
            suspects.pause(time.monotonic() + BUSY_SECONDS)
            return
        for suspect in drifted:
            result = results[suspect.key]
            if result.outcome is Outcome.HEALED and suspects.fights.healing(suspect.key, began, suspect.others):
                log.warning(
                    "drift.fight",
                    application=application.name,
                    object=suspect.key,
                    manager=suspects.fights.going_on[suspect.key],
                )
            self._settle_one(application, suspects, suspect, result)

    def _settle_one(self, application: Application, suspects: Suspects, suspect: Suspect, result: Result) -> None:
        if result.outcome in (Outcome.LATER, Outcome.FAILED, Outcome.WHOLE):
            suspects.later(suspect, RETRY_SECONDS)
        elif result.outcome is not Outcome.REPORTED:
            suspects.clear(suspect)
        elif suspects.found(suspect, result.what):
            log.warning("drift.found", application=application.name, object=suspect.key, drift=result.what)

    async def _report(self, application: Application, suspects: Suspects) -> bool:
        """The application's state says what differs; written under its lease, so only when no run holds it."""
        drift = suspects.drift()
        fresh = msgspec.json.encode(drift)
        if fresh == (suspects.reported or b"{}"):
            return True
        lease = await self._context.leases.try_acquire("application", application.name)
        if lease is None:
            return False
        try:
            await self._context.queue.record(lease, application.name, state={"drift": fresh.decode()})
        finally:
            await asyncio.shield(lease.release())
        suspects.reported = fresh
        await self._context.news.drifted(application, drift)
        return True
