"""An application's health out of its objects': the worst one's. Pure.

What must hold: one object's change costs the same whether the application has ten objects or ten thousand, so counts are
kept, and only the objects that aren't Current are kept with their reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, islice

from workers.health.status import CURRENT, Health, Status
from workers.kube.keys import ObjectKey

WORST_FIRST = (Status.FAILED, Status.TERMINATING, Status.IN_PROGRESS, Status.UNKNOWN)
"""The order in which one object speaks for all; Current is what is left. Unknown comes last: it holds nothing against the
application but that it can't be told."""


class ApplicationHealth:
    """The health of one application, kept as its objects change. No objects: Current."""

    def __init__(self) -> None:
        self._statuses: dict[ObjectKey, Status] = {}
        self._unsettled: dict[Status, dict[ObjectKey, Health]] = {status: {} for status in WORST_FIRST}

    def update(self, key: ObjectKey, health: Health) -> bool:
        """``key`` is now ``health``. True, if the application's own health (`health`) is another one now."""
        before = self.health
        former = self._statuses.get(key)
        if former is not None and former != health.status:
            self._unsettled.get(former, {}).pop(key, None)
        self._statuses[key] = health.status
        if health.status in self._unsettled:
            self._unsettled[health.status][key] = health
        return self.health != before

    def remove(self, key: ObjectKey) -> bool:
        """``key`` is gone, as it should be. Returns as `update`."""
        before = self.health
        former = self._statuses.pop(key, Status.CURRENT)
        self._unsettled.get(former, {}).pop(key, None)
        return self.health != before

    @property
    def health(self) -> Health:
        """The worst status, with the reason of the object that has been in it for longest; its message names it."""
        for status in WORST_FIRST:
            for key, health in self._unsettled[status].items():
                return health._replace(message=f"{key}: {health.message}" if health.message else str(key))
        return CURRENT

    @property
    def counts(self) -> Mapping[Status, int]:
        """How many objects have each status; those that none has are left out."""
        counts = {status: len(held) for status, held in self._unsettled.items() if held}
        current = len(self._statuses) - sum(counts.values())
        return {**counts, Status.CURRENT: current} if current else counts

    @property
    def settled(self) -> bool:
        """Is every object Current?"""
        return not any(self._unsettled.values())

    def unsettled(self, limit: int | None = None) -> list[tuple[ObjectKey, Health]]:
        """The objects that aren't Current, the worst first, at most ``limit`` of them."""
        return list(islice(chain.from_iterable(self._unsettled[status].items() for status in WORST_FIRST), limit))

    def of(self, key: ObjectKey) -> Health | None:
        """One object's health; None if it isn't known."""
        status = self._statuses.get(key)
        if status is None:
            return None
        return self._unsettled[status][key] if status in self._unsettled else CURRENT
