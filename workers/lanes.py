"""The applications of one run, a lane for each cluster: a cluster that is slow or away holds up no other's.

What must hold: within a lane applications wait for each other only where objects leave (nothing is pruned before every
application has taken what moved to it); between lanes nobody waits for anything, for no object moves between clusters.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
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


class Lane:
    """The applications of one cluster; ``gate`` lets ``width`` of them work at once."""

    def __init__(self, count: int, width: int) -> None:
        self.gate = asyncio.Semaphore(width)
        self.prepared, self.applied = Milestone(count), Milestone(count)
        self._count, self._outcomes = count, list["Outcome"]()

    def ended(self, outcome: Outcome) -> list[Outcome]:
        """One application's run ended so. Returns all outcomes if it was the lane's last one."""
        self._outcomes.append(outcome)
        return self._outcomes if len(self._outcomes) == self._count else []


def lanes(applications: Iterable[Application], width: int) -> dict[str, Lane]:
    """The lanes of ``applications``, by the name of the cluster."""
    counts = Counter(application.spec.destination.cluster for application in applications)
    return {cluster: Lane(count, width) for cluster, count in counts.items()}
