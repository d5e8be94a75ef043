"""The objects of one application that have health: which of them must be read, when, and what follows for the application.

Pure: what is read comes from `workers.watch.health`. What must hold: nothing is said while an object wasn't read since it was
written; however often an object's status changes, it is read once a `PACE`, and once a `SETTLED_PACE` while all is well;
and what isn't healthy is read again now and then, event or not, until it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b

from windlass.health import DEGRADED, HEALTHY, PROGRESSING, HealthState, ObjectHealth
from workers.health import ApplicationHealth, Health, Status
from workers.health.pods import CONFIGURATION, IMAGE
from workers.health.status import unknown
from workers.kube.keys import ObjectKey

SOON = 0.05
"""Seconds from an object's event until it is read: most come in pairs."""
PACE, SETTLED_PACE = 0.25, 5.0
"""Seconds between two reads of one object, and of one that was healthy when it was read last."""
ASK_WHY_AFTER = 5.0
"""Seconds for which an object may be on its way before its pods are looked at, and between two such looks."""
LONGEST_LOOK = 60.0
"""Seconds until an unhealthy object is read again although nothing happened to it."""
LONGEST_SLEEP = 60.0
SHOWN = 20
"""Objects that the state names."""
HOPELESS = IMAGE | CONFIGURATION | {"CrashLoopBackOff", "OOMKilled"}
"""Reasons of pods that waiting doesn't help. Unschedulable is none: a node may be on its way."""


class Checks:
    """Times are `time.monotonic`'s; ``limit`` is in seconds: who isn't healthy for longer has failed."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.compare_at: float | None = None  # until when the lists' versions are waited for
        self._health = ApplicationHealth()
        self._versions: dict[ObjectKey, str] = {}  # of every object: its resourceVersion when it was read, or listed
        self._digest = 0
        self._unread: set[ObjectKey] = set()
        self._due: dict[ObjectKey, float] = {}
        self._read: dict[ObjectKey, float] = {}
        self._since: dict[ObjectKey, float] = {}  # since when it isn't Current
        self._whys: dict[ObjectKey, tuple[float, str]] = {}
        self._missing: set[ObjectKey] = set()
        self._wake = asyncio.Event()

    def __contains__(self, key: ObjectKey) -> bool:
        return key in self._versions

    def __iter__(self) -> Iterator[ObjectKey]:
        return iter(self._versions)

    # -- which objects --------------------------------------------------------------------------------------------

    def expect(
        self, keys: Iterable[ObjectKey], now: float, *, trust: float | None = None, since: float | None = None
    ) -> None:
        """The application's objects, none of them read yet. With ``trust``, the lists are awaited until then: if the versions
        are those that were healthy (`settle`), nothing is read. ``since``: since when one of them isn't healthy."""
        for key in keys:
            self._add(key)
            if since is not None:
                self._since[key] = since
            if trust is None:
                self._due[key] = now
        if trust is not None:
            self.compare_at = trust

    def saw(self, key: ObjectKey, version: str, now: float) -> None:
        """A watch has shown the object; "": as gone. While lists are awaited, that is kept to be compared at their end."""
        if self.compare_at is not None:
            self._set_version(key, version)
        else:
            self.changed(key, version, now)

    def settle(self, seen: str, now: float) -> bool:
        """The lists are whole. Is everything as it was when all was well? Else all of it is due."""
        self.compare_at = None
        if seen == self.seen:
            for key in self._unread:
                self._health.update(key, Health(Status.CURRENT))
            self._unread.clear()
            self._since.clear()
            return True
        for key in self._unread:
            self._due[key] = now
        return False

    def written(self, keys: Iterable[ObjectKey], now: float) -> None:
        """A run, or a heal, wrote these: what was known of them is of the past."""
        for key in keys:
            self._add(key)
            self._since[key], self._due[key] = now, now
            self._whys.pop(key, None)

    def remove(self, key: ObjectKey) -> None:
        """It is none of the application's any more."""
        if (version := self._versions.pop(key, None)) is not None:
            self._digest ^= _number(key, version)
        self._health.remove(key)
        self._unread.discard(key)
        self._missing.discard(key)
        for kept in (self._due, self._read, self._since, self._whys):
            kept.pop(key, None)

    def _add(self, key: ObjectKey) -> None:
        self._unread.add(key)
        if key not in self._versions:
            self._versions[key] = ""
            self._digest ^= _number(key, "")

    def _set_version(self, key: ObjectKey, version: str) -> None:
        self._digest ^= _number(key, self._versions[key]) ^ _number(key, version)
        self._versions[key] = version

    # -- when to read ---------------------------------------------------------------------------------------------

    def changed(self, key: ObjectKey, version: str, now: float) -> None:
        """The object is to be read, unless its last reading has seen this version already."""
        if version and not _newer(version, self._versions[key]):
            return
        pace = SETTLED_PACE if self._health.of(key) == Health(Status.CURRENT) and key not in self._unread else PACE
        at = max(now + SOON, self._read.get(key, -pace) + pace)
        self._due[key] = min(at, self._due.get(key, at))

    def look_for_missing(self, now: float) -> None:
        """A run is over: is what isn't there still wanted?"""
        for key in self._missing:
            self._due[key] = now

    def due(self, now: float, most: int) -> list[ObjectKey]:
        """Those to be read now."""
        due = [key for key, at in self._due.items() if at <= now]
        return due[:most]

    def later(self, key: ObjectKey, at: float) -> None:
        """It couldn't be read: again then."""
        if key in self._versions:
            self._due[key] = at

    # -- what was found -------------------------------------------------------------------------------------------

    def found(self, key: ObjectKey, health: Health, version: str, asked: float, now: float) -> None:
        """The object was read: asked for at ``asked``; what happened to it since makes it due again."""
        if key not in self._versions:
            return
        if self._due.get(key, asked) <= asked:
            self._due.pop(key, None)
        if self._since.get(key, 0.0) <= asked:  # else it was written since
            self._unread.discard(key)
        self._set_version(key, version)
        self._read[key] = now
        self._health.update(key, health)
        if version:
            self._missing.discard(key)
        else:
            self._missing.add(key)
        if health.status is Status.CURRENT:
            self._since.pop(key, None)
            self._whys.pop(key, None)
            return
        since = self._since.setdefault(key, now)
        at = now + min(max(now - since, ASK_WHY_AFTER), LONGEST_LOOK)
        if now - since < self.limit:
            at = min(at, since + self.limit)
        self._due[key] = min(at, self._due.get(key, at))

    def unreadable(self, key: ObjectKey, why: str, asked: float, now: float) -> None:
        """The server refuses to show the object."""
        if key in self._versions:
            self.found(key, unknown("Unreadable", why), self._versions[key] or "?", asked, now)

    def wants_why(self, key: ObjectKey, health: Health, now: float) -> bool:
        """Is it time to ask the object's pods and events why it isn't healthy?"""
        if health.status is Status.CURRENT or now - self._whys.get(key, (-ASK_WHY_AFTER, ""))[0] < ASK_WHY_AFTER:
            return False
        return health.status is Status.FAILED or now - self._since.get(key, now) >= min(ASK_WHY_AFTER, self.limit)

    def why(self, key: ObjectKey, said: str, now: float) -> None:
        """What its pods and events said."""
        self._whys[key] = now, said

    def of(self, key: ObjectKey) -> Health | None:
        """What is known of the object; None: nothing that holds still."""
        return None if key in self._unread else self._health.of(key)

    def state(self, now: float, epoch: float) -> HealthState | None:
        """What follows for the application; None: not everything was read. ``epoch``: seconds since the epoch at 0."""
        if self._unread:
            return None
        failing: dict[str, ObjectHealth] = {}
        moving: dict[str, ObjectHealth] = {}
        for key, health in self._health.unsettled():
            shown = self._shown(key, health)
            old = now - self._since.get(key, now) >= self.limit
            (failing if old or health.status is Status.FAILED or shown.reason in HOPELESS else moving)[str(key)] = shown
        unhealthy = dict(list({**failing, **moving}.items())[:SHOWN])
        total = len(self._versions)
        return HealthState(
            DEGRADED if failing else PROGRESSING if moving else HEALTHY,
            objects=total,
            current=total - len(failing) - len(moving),
            unhealthy=unhealthy,
            unsettled=epoch + min(self._since.values(), default=now) if unhealthy else 0.0,
            seen=self.seen,
        )

    def _shown(self, key: ObjectKey, health: Health) -> ObjectHealth:
        reason, message = health.reason, health.message
        if said := self._whys.get(key, (0.0, ""))[1]:
            first, _, rest = said.partition(": ")
            reason, message = (first, rest) if rest and " " not in first else (reason, said)
        return ObjectHealth(health.status.value, reason, message)

    @property
    def seen(self) -> str:
        """A digest of all objects' versions, whatever their order."""
        return f"{self._digest:016x}"

    # -- waiting --------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        self._wake.set()

    @property
    def idle(self) -> bool:
        """Is nothing ever due, unless something happens?"""
        return not self._due and self.compare_at is None

    async def wait(self, until: float = float("inf")) -> None:
        """Until something is due, or ``until``, or `wake`."""
        dues = [*self._due.values(), until, time.monotonic() + LONGEST_SLEEP]
        if self.compare_at is not None:
            dues.append(self.compare_at)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(dues) - time.monotonic())):
                await self._wake.wait()
        self._wake.clear()


def _newer(version: str, known: str) -> bool:
    """Versions of one resource can be compared (KEP-5504); where not, another one is new."""
    if version.isdigit() and known.isdigit():
        return int(version) > int(known)
    return version != known


def _number(key: ObjectKey, version: str) -> int:
    return int.from_bytes(blake2b(f"{key} {version}".encode(), digest_size=8).digest())
