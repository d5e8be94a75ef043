"""Drift undone: the objects that differ, each by one apply of the manifest that was applied last, under the application's lease.

What must hold: never two writers of an application at once. While a run holds the lease nothing is written: it may be the
writer of what was seen; after it, everything is looked at again. What another application claims, what is being deleted,
and what isn't in the inventory is left alone.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import structlog

from windlass import metrics
from windlass.documents.accounts import account_of
from windlass.documents.types import Application
from windlass.queue import Lease
from windlass.state import claims_key, read_state
from windlass.wire import text
from workers.cluster import ClusterAccess
from workers.concurrency import together
from workers.context import Context
from workers.ignore import IgnoreRules
from workers.inventory import read_entries
from workers.kube.apply import Applier
from workers.kube.contest import Rules, nobody_may_take
from workers.kube.dry_run import DryRun, DryRunClient
from workers.kube.errors import ApiError, ConflictError
from workers.kube.keys import ObjectKey
from workers.kube.managed_fields import PREFIX, is_member
from workers.kube.transport import METADATA
from workers.plan import FIRST, Entry
from workers.render.random_values import kept
from workers.watch.drift import Verdict, judge
from workers.watch.manifests import Manifests, Wanted
from workers.watch.sightings import Sightings, UnseenError
from workers.watch.suspects import Suspect

log = structlog.get_logger(__name__)

OURS_PATIENCE = 5.0
"""Seconds after which a hash of our own that nobody recorded is a write that came too late: drift."""


class Outcome(enum.Enum):
    """What became of a suspect."""

    CLEAR = enum.auto()  # it is no drift, or none of ours
    HEALED = enum.auto()
    REPORTED = enum.auto()  # it is drift, and not to be undone
    LATER = enum.auto()  # nobody can say yet
    FAILED = enum.auto()
    WHOLE = enum.auto()  # its manifest is not to be had: a whole run is queued


class Result(NamedTuple):
    outcome: Outcome
    what: str = ""  # for people: what was wrong, or why it couldn't be undone


class Healer:
    """Undoes the drift of the applications of one cluster."""

    def __init__(self, context: Context, access: ClusterAccess, sightings: Sightings) -> None:
        self._context, self._access, self._sightings = context, access, sightings

    async def heal(self, application: Application, suspects: Sequence[Suspect]) -> dict[str, Result] | None:
        """Look again at each suspect, and undo what is drift; None: a run of the application holds its lease.

        :raises WindlassError: the cluster or the lease was lost: all of it is to be looked at again.
        """
        lease = await self._context.leases.try_acquire("application", application.name)
        if lease is None:
            return None
        try:
            return await _Round(self._context, self._access, self._sightings, application, lease).run(suspects)
        finally:
            await asyncio.shield(lease.release())


class _Round:
    """What is done in one hold of an application's lease."""

    def __init__(
        self, context: Context, access: ClusterAccess, sightings: Sightings, application: Application, lease: Lease
    ) -> None:
        self._context, self._access, self._sightings = context, access, sightings
        self._application, self._lease = application, lease
        self._applyset = access.applyset(application.name)
        self._entries: dict[str, Entry] = {}
        self._behind = False
        self._tips: dict[str, str] = {}  # by source, the commit that was compared last
        self._ignore = IgnoreRules.of(application)
        self._account = account_of(application.spec.destination, context.settings.default_service_account)
        self._results: dict[str, Result] = {}
        self._changed: dict[str, bytes] = {}  # inventory entries

    async def run(self, suspects: Sequence[Suspect]) -> dict[str, Result]:
        await self._read([suspect.key for suspect in suspects])
        for suspect in suspects:
            self._results[suspect.key] = await self._look(suspect)
        drifted = [s for s in suspects if self._results[s.key].outcome is Outcome.REPORTED]
        if drifted and self._application.spec.sync.heals:
            await self._undo({suspect.key: suspect for suspect in drifted})
        elif ignoring := [s.key for s in drifted if self._ignore.of_key(ObjectKey.parse(s.key))]:
            await self._acquit(ignoring)
        if reported := sum(result.outcome is Outcome.REPORTED for result in self._results.values()):
            metrics.DRIFT.labels("reported").inc(reported)
        return self._results

    async def _read(self, keys: Sequence[str]) -> None:
        """What Redis knows, now that nobody else writes: the inventory, less what another application (or this one on
        another cluster) claims; and whether a run is due or was cut off."""
        redis, sources = self._context.redis, list(dict.fromkeys(one.id for one in self._application.spec.sources))
        entries = await read_entries(redis, self._application.name, keys)
        pipeline = redis.pipeline(transaction=False)
        pipeline.hmget(claims_key(self._access.document.name), keys)
        for source in sources:
            pipeline.sismember(f"windlass:source:{source}:dirty", self._application.name)
            pipeline.hget(f"windlass:source:{source}", "processed")
        holders, *said = await pipeline.execute()
        name = self._application.name.encode()
        ours = {key for key, holder in zip(keys, holders, strict=True) if holder == name}
        self._entries = {key: entry for key, entry in entries.items() if key in ours}
        self._behind = any(said[::2])
        self._tips = {source: text(tip or b"") for source, tip in zip(sources, said[1::2], strict=True)}

    # -- looking again --------------------------------------------------------------------------------------------

    async def _look(self, suspect: Suspect) -> Result:
        """Is it drift (`REPORTED`)?"""
        try:
            verdict = judge(self._sightings.look(self._application.name, suspect.key), self._entries.get(suspect.key))
        except UnseenError:
            return Result(Outcome.LATER)
        if verdict in (Verdict.EQUAL, Verdict.FOREIGN):
            return Result(Outcome.CLEAR)
        if verdict is Verdict.OURS and (self._behind or time.monotonic() - suspect.since < OURS_PATIENCE):
            return Result(Outcome.LATER)
        if verdict is Verdict.GONE:
            return await self._read_again(suspect.key)
        return Result(Outcome.REPORTED, f"changed by {suspect.others[0]}" if suspect.others else "changed")

    async def _read_again(self, key: str) -> Result:
        """It left the watch: was it deleted, is it being deleted, or did only its label go?"""
        parsed = ObjectKey.parse(key)
        resource = await self._access.discovery.preferred(parsed.group, parsed.kind)
        if resource is None:
            return Result(Outcome.REPORTED, "deleted, with its kind")
        path = resource.path(parsed.namespace, parsed.name)
        try:
            answer = await self._access.client.request("GET", path, accept=METADATA, deadline=self._lease.remaining)
        except ApiError as error:
            return Result(Outcome.REPORTED, "deleted") if error.missing else Result(Outcome.FAILED, str(error))
        metadata = answer.json()["metadata"]
        if metadata.get("deletionTimestamp"):
            return Result(Outcome.LATER, "being deleted")
        if is_member(metadata, PREFIX + self._application.name, self._applyset.id):
            return Result(Outcome.LATER)  # back already: its event is on the way
        self._sightings.is_there(self._application.name, key)
        return Result(Outcome.REPORTED, "its part-of label was removed")

    async def _acquit(self, keys: Sequence[str]) -> None:
        """Who took what is left to others did no wrong: what an apply would not change is no drift, whoever owns it."""
        client = self._access.members(self._account)
        force = self._application.spec.sync.force
        dry_run = DryRun(
            DryRunClient.over(client), Rules(self._application.manager, self._applyset.id, force, nobody_may_take)
        )
        for name, wanted in (await self._wanted(keys)).items():
            key = ObjectKey.parse(name)
            try:
                live = await dry_run.read(wanted.resource, key)
                if live is None:
                    continue
                wished = kept(wanted.body, live, wanted.random)
                seen = await dry_run.foresee(
                    wanted.resource, wished, digest=self._entries[name].hash, live=live, left=self._ignore.of_key(key)
                )
            except ApiError as error:
                log.info("drift.not_foreseen", application=self._application.name, object=name, reason=str(error))
                continue
            if seen.equal:
                self._results[name] = Result(Outcome.CLEAR)

    # -- undoing --------------------------------------------------------------------------------------------------

    async def _undo(self, drifted: Mapping[str, Suspect]) -> None:
        wanted = await self._wanted(drifted)
        if missing := [key for key in drifted if key not in wanted]:
            await self._without_manifest(missing)
        for stage in _stages(wanted):
            queue = iter([(drifted[key], wanted[key]) for key in stage])
            width = min(len(stage), self._access.limiter.maximum)
            await together(width, partial(self._apply_each, queue))
        if self._changed:
            await self._context.queue.record(self._lease, self._application.name, state={}, set_objects=self._changed)

    async def _wanted(self, keys: Iterable[str]) -> dict[str, Wanted]:
        manifests = Manifests(self._context, self._access, self._application, await self._commits())
        return await manifests.read({key: self._entries[key] for key in keys})

    async def _commits(self) -> dict[str, tuple[str, ...]]:
        """By source, where a manifest may be read. While a run is due, only from its commit: never back to an older one."""
        if self._behind:
            return {source: (tip,) for source, tip in self._tips.items()}
        state = await read_state(self._context.redis, self._application.name)
        commits = {source: (state.revision_of(source), tip) for source, tip in self._tips.items()}
        return commits | {self._application.source.id: (state.revision, state.wanted, *reversed(state.attempted))}

    async def _without_manifest(self, keys: Sequence[str]) -> None:
        """A whole run compares everything with the cluster, as `windlass sync` does; the one that is due may do."""
        if self._behind:
            self._results.update(dict.fromkeys(keys, Result(Outcome.LATER, "a run is due")))
            return
        self._results.update(dict.fromkeys(keys, Result(Outcome.WHOLE, "a run compares everything with the cluster")))
        log.info("drift.whole_run", application=self._application.name, objects=keys[:5])
        await self._context.ask_whole(self._application, f"drift of {keys[0]}")

    async def _apply_each(self, queue: Iterator[tuple[Suspect, Wanted]]) -> None:
        for suspect, wanted in queue:
            async with self._access.limiter:
                await self._apply(suspect, wanted)

    async def _apply(self, suspect: Suspect, wanted: Wanted) -> None:
        name, entry = self._application.name, self._entries[suspect.key]
        client = self._access.members(self._account)
        applier = Applier(client, name, self._applyset.id, force=self._application.spec.sync.force)
        key, wished = ObjectKey.parse(suspect.key), wanted.body
        try:
            if wanted.random and (live := await self._access.read(key)) is not None:
                wished = kept(wished, live, wanted.random)
            applied = await applier.apply(
                wanted.resource,
                wished,
                digest=entry.hash,
                previous=wished,
                deadline=self._lease.remaining,
                left=self._ignore.of_key(key),
            )
        except ApiError as error:
            if error.missing:
                self._access.discovery.forget(wanted.resource)
            metrics.DRIFT.labels("failed").inc()
            held = isinstance(error, ConflictError) and bool(error.application)
            self._results[suspect.key] = Result(Outcome.CLEAR if held else Outcome.FAILED, str(error))
            log.warning("drift.not_undone", application=name, object=suspect.key, error=str(error))
            return
        metrics.DRIFT.labels("undone").inc()
        self._sightings.wrote(name, suspect.key, entry.hash, applied.fields, applied.resource_version)
        if applied.fields != entry.fields:
            self._changed[suspect.key] = entry._replace(fields=applied.fields).dump()
        what = self._results[suspect.key].what
        self._results[suspect.key] = Result(Outcome.HEALED, what)
        log.info(
            "drift.undone",
            application=name,
            object=suspect.key,
            drift=what,
            managers=suspect.others[:5],
            took=applied.took,
            milliseconds=round((time.monotonic() - suspect.since) * 1000, 1),
        )


def _stages(wanted: Mapping[str, Wanted]) -> list[list[str]]:
    """First what others can't exist without, as in a run."""
    stages = [[key for key in wanted if ObjectKey.parse(key).group_kind == name] for name in FIRST]
    rest = [key for key in wanted if ObjectKey.parse(key).group_kind not in FIRST]
    return [stage for stage in (*stages, rest) if stage]
