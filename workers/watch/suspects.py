"""The objects of one application that may have drifted: when each is to be looked at, and what was found and not undone.

What must hold: what was decided before an event settles nothing after it; and nothing is forgotten before it is settled.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import NamedTuple

from windlass.state import Drift
from workers.watch.fights import Fights
from workers.watch.sightings import Place

LONGEST_RETRY = 10.0
"""Seconds between two looks at an object that can't be settled: never minutes."""
LONGEST_SLEEP = 1.0
NAMED = 100
"""Objects that the state names; the others are counted."""


class Suspect(NamedTuple):
    """An object that may have drifted: ``since`` when (`time.monotonic`), its other managers, the latest first.

    ``turn`` grows with every event of the object.
    """

    key: str
    since: float
    others: tuple[str, ...]
    turn: int = 0


class _Case:
    __slots__ = ("due", "suspect", "tries")

    def __init__(self, suspect: Suspect, due: float) -> None:
        self.suspect, self.due, self.tries = suspect, due, 0


class Suspects:
    """The suspects of one application. Times are `time.monotonic`'s."""

    def __init__(self) -> None:
        self.kinds: set[str] = set()  # group kinds that the application has objects of
        self.places: set[Place] = set()  # where a run that is not over has recorded objects
        self.compare_at: float | None = None  # when to compare the whole inventory
        self.fights = Fights()
        self.reported = b""  # what the application's state says, as JSON
        self._drifted: dict[str, str] = {}  # what differs and is not undone: object -> what is wrong
        self._cases: dict[str, _Case] = {}
        self._paused = 0.0  # until when a run of the application is not to be disturbed
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._cases)

    def add(self, key: str, now: float, delay: float = 0.0, others: tuple[str, ...] = ()) -> None:
        """Something happened to the object: look at it within ``delay`` seconds."""
        case = self._cases.get(key)
        if case is None:
            self._cases[key] = _Case(Suspect(key, now, others), now + delay)
            return
        case.due = now + delay if case.tries else min(case.due, now + delay)
        case.suspect = Suspect(key, now, others or case.suspect.others, case.suspect.turn + 1)
        case.tries = 0

    def look_now(self, now: float) -> None:
        """Whatever was waited for has come: look at all of them."""
        self._paused = now
        for case in self._cases.values():
            case.due = now

    def look_again(self, now: float) -> None:
        """Look at everything that was found too."""
        for key in self._drifted:
            self.add(key, now)

    def pause(self, until: float) -> None:
        """A run of the application is writing: nothing is due before this, unless `look_now` says that it is over."""
        self._paused = until

    def due(self, now: float, most: int) -> list[Suspect]:
        """Those to be looked at now."""
        if now < self._paused:
            return []
        cases = sorted((case for case in self._cases.values() if case.due <= now), key=lambda case: case.due)
        return [case.suspect for case in cases[:most]]

    def clear(self, suspect: Suspect) -> None:
        """It is as it should be, or none of ours."""
        if self._drop(suspect):
            self._drifted.pop(suspect.key, None)

    def found(self, suspect: Suspect, what: str) -> bool:
        """It is drift, and not undone. Is that news?"""
        self._drop(suspect)
        news = suspect.key not in self._drifted
        self._drifted[suspect.key] = what
        return news

    def later(self, suspect: Suspect, seconds: float) -> None:
        """Look again after ``seconds``, and each time that nothing comes of it after twice as long."""
        case = self._cases[suspect.key]
        if case.suspect.turn == suspect.turn:
            case.due = time.monotonic() + min(seconds * 2**case.tries, LONGEST_RETRY)
            case.tries += 1

    def not_before(self, suspect: Suspect, seconds: float) -> None:
        """Look again after ``seconds``, whatever happens to it meanwhile."""
        self._cases[suspect.key].due = time.monotonic() + seconds

    def _drop(self, suspect: Suspect) -> bool:
        if self._cases[suspect.key].suspect.turn != suspect.turn:
            return False
        del self._cases[suspect.key]
        return True

    def drift(self) -> Drift:
        """What the application's state shall say."""
        return Drift(
            len(self._drifted),
            {key: self._drifted[key] for key in sorted(self._drifted)[:NAMED]},
            dict(sorted(self.fights.going_on.items())[:NAMED]),
        )

    @property
    def settled(self) -> bool:
        """Is there nothing to look at, to say or to forget?"""
        return not self._cases and self.compare_at is None and self.fights.quiet

    def wake(self) -> None:
        self._wake.set()

    async def wait(self) -> None:
        """Until something is due, or `wake`."""
        dues = [max(self._paused, min(case.due for case in self._cases.values()))] if self._cases else []
        if self.compare_at is not None:
            dues.append(self.compare_at)
        left = min([*dues, time.monotonic() + LONGEST_SLEEP]) - time.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, left)):
                await self._wake.wait()
        self._wake.clear()
