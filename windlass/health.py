"""An application's health as every process reads it in Redis: written by the watcher, and by runs as far as they can tell.

What must hold: it is about what was applied last. A run that writes objects that have health takes the application's next
turn in the same script (`windlass.queue.SourceQueue.record`), and what the watcher found out in an earlier turn is refused
(`SourceQueue.health`). So Healthy is never said of objects that nobody has looked at since they were written.
"""

from __future__ import annotations

import msgspec

HEALTHY, PROGRESSING, DEGRADED = "Healthy", "Progressing", "Degraded"


def health_key(application: str) -> str:
    return f"windlass:app:{application}:health"


class ObjectHealth(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why one object isn't healthy: kstatus' status, the reason in one word, and a sentence."""

    status: str
    reason: str = ""
    message: str = ""

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.reason or self.status, self.message)))


class HealthState(msgspec.Struct, frozen=True, omit_defaults=True):
    """Healthy: every object is Current. Degraded: one has failed, or isn't Current for longer than `spec.sync.timeout`.
    Progressing: one isn't Current yet. "": nobody has looked. Times are seconds since the epoch.
    """

    status: str = ""
    objects: int = 0  # objects that have health
    current: int = 0  # those of them that are Current
    unhealthy: dict[str, ObjectHealth] = {}  # the first of the others, the worst before all
    began: float = 0.0  # when this turn began
    since: float = 0.0  # when the status became what it is
    unsettled: float = 0.0  # since when an object isn't Current; 0: all are
    reached: float = 0.0  # when all were Current for the first time in this turn; 0: never
    seen: str = ""  # a digest of the resourceVersions that were looked at: equal ones need no second look

    def __str__(self) -> str:
        return f"{self.status}: {self.why}" if self.why else self.status

    @property
    def why(self) -> str:
        """The worst object and its reason; "" where all are Current."""
        return next((f"{key}: {found}" for key, found in self.unhealthy.items()), "")

    def dump(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def load(cls, raw: bytes | None) -> HealthState:
        """What can't be read counts as never written."""
        try:
            return msgspec.json.decode(raw, type=cls) if raw else cls()
        except ValueError:
            return cls()


def begun(now: float) -> HealthState:
    """What a run says that wrote objects that have health."""
    return HealthState(PROGRESSING, began=now, since=now, unsettled=now)


def nothing_to_wait_for(now: float) -> HealthState:
    """What an application's first run says, if none of its objects has health."""
    return HealthState(HEALTHY, began=now, since=now, reached=now)
