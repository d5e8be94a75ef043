"""The applications of one run, a lane for each cluster: a cluster that is slow or away holds up no other's.

What must hold: within a lane applications wait for each other only where objects come or leave (nothing is taken before every
application has let go of what moves, nothing is pruned before every application has taken what moved to it); between lanes
nobody waits for anything, for no object moves between clusters. Who waits for others gives up its turn.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from windlass.documents.types import Application

if TYPE_CHECKING:
    from workers.application import Outcome


class Milestone:
    """What ``count`` applications must have passed before any goes on."""

    def __init__(self, count: int) -> None:
        self._left, self._passed = count, asyncio.Event()

    def passed(self) -> None:
        self._left -= 1
        if not self._left:
            self._passed.set()

    async def wait(self) -> None:
        await self._passed.wait()


class Turn:
    """An application's place at its lane's gate, from its beginning to its end: the first ones are written to the cluster
    while later ones are still to be planned."""

    def __init__(self, gate: asyncio.Semaphore) -> None:
        self._gate, self._has_place = gate, False

    async def __aenter__(self) -> Turn:
        await self._gate.acquire()
        self._has_place = True
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._has_place:
            self._gate.release()

    @asynccontextmanager
    async def given_up(self) -> AsyncIterator[None]:
        """Let others have the place meanwhile."""
        self._gate.release()
        self._has_place = False
        yield
        await self._gate.acquire()
        self._has_place = True


class Lane:
    """The applications of one cluster; ``width`` of them have their turn at once."""

    def __init__(self, count: int, width: int) -> None:
        self._gate = asyncio.Semaphore(width)
        self.prepared, self.applied = Milestone(count), Milestone(count)
        self._count, self._outcomes = count, list["Outcome"]()

    def turn(self) -> Turn:
        """One application's turn, to be entered."""
        return Turn(self._gate)

    def ended(self, outcome: Outcome) -> list[Outcome]:
        """One application's run ended so. Returns all outcomes if it was the lane's last one."""
        self._outcomes.append(outcome)
        return self._outcomes if len(self._outcomes) == self._count else []


def lanes(applications: Iterable[Application], width: int) -> dict[str, Lane]:
    """The lanes of ``applications``, by the name of the cluster."""
    counts = Counter(application.spec.destination.cluster for application in applications)
    return {cluster: Lane(count, width) for cluster, count in counts.items()}
