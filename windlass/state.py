"""What Windlass knows of each application, in Redis: read here, written by the fenced `windlass.queue.record`.

All of it can be lost: Git and the cluster hold the truth, and the next run rebuilds what it needs.
"""

from __future__ import annotations

import contextlib

import msgspec
from redis.asyncio import Redis

from windlass.health import HealthState, health_key

HISTORY = 50
"""Runs kept of an application."""


def application_key(name: str) -> str:
    return f"windlass:app:{name}"


def objects_key(name: str) -> str:
    return f"windlass:app:{name}:objects"


def history_key(name: str) -> str:
    return f"windlass:app:{name}:history"


def claims_key(cluster: str) -> str:
    """A hash: object -> the application whose current render wants it, on that cluster."""
    return f"windlass:claims:{cluster}"


def refused_key(holder: str) -> str:
    """A set of ``APPLICATION OBJECT``: who wants an object that ``holder`` has, and is to be told when it lets go."""
    return f"windlass:app:{holder}:refused"


class Standing(msgspec.Struct, omit_defaults=True):
    """What a run that waits leaves to the one that goes on: which hooks are done, and what isn't known to be healthy."""

    revision: str = ""  # of which the rest is: the commit, or a digest of those of several sources
    due: bool = False  # something differs, so that hooks run; until a run is complete, of whichever revision
    ran: list[str] = []  # hooks that succeeded
    spent: list[str] = []  # of these, those to be deleted when their phase is over
    failed: list[str] = []  # hooks that failed: whoever tries again runs them again
    unsettled: dict[str, int] = {}  # object -> its wave: written, and not seen healthy since
    awaits: list[str] = []  # the objects (or applications) that the run waits for
    why: str = ""
    place: str = ""  # where in the run that is
    since: float = 0.0  # seconds since the epoch: when it began to wait there


class RunRecord(msgspec.Struct, omit_defaults=True):
    """One run of an application. Times are seconds since the epoch, durations milliseconds."""

    event: str
    revision: str
    phase: str
    started: float
    received: float | None = None
    durations: dict[str, float] = {}
    applied: int = 0
    unchanged: int = 0
    pruned: int = 0
    kept: list[str] = []
    taken: list[str] = []
    errors: list[str] = []
    warnings: list[str] = []
    waits: str = ""  # what for
    health: str = ""  # what became of it: Healthy, or why not; ``durations["healthy"]`` counts from the run's end
    fetch: str = ""  # which way the fetch went: present, v2, pygit2 or git, and why not v2


class Drift(msgspec.Struct, frozen=True, omit_defaults=True):
    """What differs from Git and is not undone, and what is undone again and again. Objects are keys as text."""

    count: int = 0  # objects that differ
    objects: dict[str, str] = {}  # the first of them, and what is wrong with each
    fights: dict[str, str] = {}  # object -> the manager that changes it back each time


class ApplicationState(msgspec.Struct):
    """An application's state as the last run left it.

    ``revision`` is the last commit of which everything was applied and pruned; ``wanted`` the one that the last run aimed at.
    """

    name: str
    phase: str = "Unknown"  # Unknown, Syncing, Waiting, OutOfSync, Synced, Retrying, Failed, Held, RolledBack
    revision: str = ""
    wanted: str = ""
    document: str = ""  # digest of the document that was applied
    source: str = ""
    attempts: int = 0
    yields: int = 0
    objects: int = 0  # how many the inventory holds
    owned: int = 0  # how many it held after the last complete run: what one commit may prune is a share of these
    attempted: tuple[str, ...] = ()  # commits tried since ``revision``, none of them completely
    begun: tuple[str, ...] = ()  # commits of runs that began; but for the one that goes on, runs that were cut off
    parent: str = ""  # the ApplySet parent's resourceVersion after the last run: is another worker's memory of it true?
    revisions: str = ""  # JSON: by source, the commits that ``revision`` stands for, where there are several
    standing: Standing = msgspec.field(default_factory=Standing)
    hold: str = ""  # of a rollback, as `windlass.hold.Hold` writes it: a copy of what the cluster has
    hooked: str = ""  # digest of the hooks that the last complete run knew
    cluster: str = ""  # where it was applied last
    left: dict[str, int] = {}  # clusters that its document named before, and how many objects stay there
    granted: str = ""  # of one without `sync.automatic`: which `whole` was granted, and for which commit
    approved: str = ""  # the commit whose prune a person approved, sealed (`windlass.queue.seal.approvals`)
    health: HealthState = HealthState()
    inputs: str = ""  # JSON: by the source's place, what its render read (path -> object id); "" for plain manifests
    whole: str = ""  # a number, if the next run shall compare everything with the cluster: how often that was asked for
    last: RunRecord | None = None
    drift: Drift = Drift()

    def revision_of(self, source: str) -> str:
        """The commit of ``source`` that was applied."""
        if not self.revisions:
            return self.revision
        return msgspec.json.decode(self.revisions, type=dict[str, str]).get(source, "")

    @classmethod
    def load(cls, name: str, fields: dict[bytes, bytes], objects: int, health: bytes | None = None) -> ApplicationState:
        """What can't be read counts as never written: the next run compares with the cluster."""
        try:
            return cls._load(name, fields, objects, HealthState.load(health))
        except ValueError:  # msgspec's and Unicode's errors are of this kind
            return cls(name=name, objects=objects)

    @classmethod
    def _load(cls, name: str, fields: dict[bytes, bytes], objects: int, health: HealthState) -> ApplicationState:
        text = {k.decode(): v.decode() for k, v in fields.items()}
        last = text.get("last")
        return cls(
            name=name,
            phase=text.get("phase", "Unknown"),
            revision=text.get("revision", ""),
            wanted=text.get("wanted", ""),
            document=text.get("document", ""),
            source=text.get("source", ""),
            attempts=int(text.get("attempts", 0)),
            yields=int(text.get("yields", 0)),
            objects=objects,
            owned=int(text.get("owned", 0)),
            attempted=tuple(text.get("attempted", "").split()),
            begun=tuple(text.get("begun", "").split()),
            parent=text.get("parent", ""),
            revisions=text.get("revisions", ""),
            standing=msgspec.json.decode(text["standing"], type=Standing) if text.get("standing") else Standing(),
            hold=text.get("hold", ""),
            hooked=text.get("hooked", ""),
            cluster=text.get("cluster", ""),
            left=msgspec.json.decode(text.get("left") or "{}", type=dict[str, int]),
            granted=text.get("granted", ""),
            approved=text.get("approved", ""),
            health=health,
            inputs=text.get("inputs", ""),
            whole=text.get("whole", ""),
            last=msgspec.json.decode(last, type=RunRecord) if last else None,
            drift=msgspec.json.decode(text.get("drift") or "{}", type=Drift),
        )


async def read_state(redis: Redis, name: str) -> ApplicationState:
    return (await read_states(redis, [name]))[0]


async def read_states(redis: Redis, names: list[str]) -> list[ApplicationState]:
    """The states of several applications, in one round trip."""
    pipeline = redis.pipeline(transaction=False)
    for name in names:
        pipeline.hgetall(application_key(name))
        pipeline.hlen(objects_key(name))
        pipeline.get(health_key(name))
    answers = await pipeline.execute()
    return [ApplicationState.load(name, *answers[i * 3 : i * 3 + 3]) for i, name in enumerate(names)]


async def read_history(redis: Redis, name: str) -> list[RunRecord]:
    """The last runs, newest first. What can't be read counts as never written."""
    runs = []
    for raw in await redis.lrange(history_key(name), 0, HISTORY - 1):
        with contextlib.suppress(ValueError):
            runs.append(msgspec.json.decode(raw, type=RunRecord))
    return runs
