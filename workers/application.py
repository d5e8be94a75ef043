"""One application's run: render, plan, apply, prune, record. `workers.reconcile` tells when.

What must hold: what Git no longer names is deleted only after everything it names was applied, and never because of an
error; each object's hash is recorded as it is applied, so that whoever comes next continues here.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import msgspec
import structlog
from redis.exceptions import RedisError

from windlass import metrics, tracing
from windlass.documents import ordering
from windlass.documents.types import Application, Limits
from windlass.errors import (
    LeaseLostError,
    OutOfSyncError,
    PermanentError,
    SupersededError,
    WaitingError,
)
from windlass.hold import Hold
from windlass.queue import Lease
from windlass.queue.seal import approvals
from windlass.state import ApplicationState, RunRecord, application_key
from workers.cluster import ClusterAccess
from workers.context import Context
from workers.dependencies import missing, wake
from workers.desired import Desired, Instead, Output, SourceAt
from workers.ending import Ending, Verdict, as_error, ending, is_repeated, named
from workers.followed import load_inputs, paths, same
from workers.handover import Handover
from workers.holding import Held, HeldError, held
from workers.inventory import Claims
from workers.kube.applyset import ApplySet
from workers.kube.keys import ObjectKey
from workers.manual import grant, withheld
from workers.moved import note_move
from workers.plan import Plan
from workers.planning import Asked, Planner
from workers.pruning import Pruner
from workers.reading import Reading
from workers.recording import Recorder
from workers.rendering import render
from workers.rollout import DEPENDS_ON, Rollout, going_on, hooks_digest, revision_of, wait_for
from workers.writes import Progress, Writer

MOST_WARNINGS = 20
"""Warnings that a run's record keeps."""
log = structlog.get_logger(__name__)

MAX_YIELDS = 3
"""After so many runs in a row that gave way to a newer commit, one is finished: nobody starves."""


class Outcome(NamedTuple):
    """What a run came to: for the source's next look, and for the commit's status."""

    application: str
    cluster: str
    phase: str
    errors: tuple[str, ...]
    retry_in: float | None
    seconds: float


def document_digest(application: Application, limits: Sequence[Limits]) -> str:
    """Two documents with this digest ask for the same objects in the same place, within the same limits."""
    asked = [application, *limits] if limits else application
    return hashlib.sha256(msgspec.json.encode(asked, order="deterministic")).hexdigest()[:16]


class ApplicationRun:
    """One run of ``application`` towards ``commit`` of the repository of ``document``, under ``lease``."""

    def __init__(
        self,
        context: Context,
        application: Application,
        *,
        commit: str,
        trigger: str,
        sources: Callable[[], Awaitable[Sequence[SourceAt]]],
        goes_first: Callable[[str], bool],
        event: str,
        received: float | None,
        lease: Lease,
        state: ApplicationState,
        instead: Instead | None = None,
    ) -> None:
        """``trigger`` is the source whose job this is, and ``commit`` its tip; ``sources`` finds all of the
        application's. ``goes_first`` tells of the other applications of this run, which aren't done yet."""
        self.application, self.commit, self._trigger, self._find_sources = application, commit, trigger, sources
        self._tip = commit
        self._goes_first = goes_first
        self.sources: Sequence[SourceAt] = ()
        self.state, self.superseded = state, False
        self._limits = context.catalog.limits_of(application)
        self._digest = document_digest(application, self._limits)
        self._context, self._lease = context, lease
        self._cluster: ClusterAccess
        self._applyset: ApplySet
        self._writer: Writer
        self._reading: Reading
        self._desired: Desired
        record = RunRecord(event=event, revision=self.commit, phase="Syncing", started=time.time(), received=received)
        self._progress = Progress(record)
        self._recorder = Recorder(context, application, state, self._progress, lease)
        self._cause: BaseException | None = None  # what cut it short
        self.claimed = False  # do the other applications know what this one wants, as far as it could be read?
        self.unreadable: dict[str, bytes] = {}  # files with an error -> what they hold
        self.withheld: frozenset[ObjectKey] | None = None  # what it would write, had a person said so
        self._plan = Plan()
        self._hold = Hold.load(state.hold)
        self._instead, self._rendering = instead, instead.rendering if instead is not None else self._render
        self._claims = Claims(
            context.redis,
            application.spec.destination.cluster,
            application.name,
            yielding=_Yielding(context, application),
            wake=lambda names: wake(context, names, f"{application.name} let go of an object"),
        )

    @property
    def _primary(self) -> SourceAt:
        return self.sources[0]

    @property
    def taking(self) -> bool:
        """Does it want objects that it hasn't applied before? Another application may have to let go of them first."""
        return any(not wanted.applied for wanted in self._plan.writes)

    @property
    def leaving(self) -> bool:
        return bool(self._plan.leaving)

    @property
    def may_yield(self) -> bool:
        return self.state.yields < MAX_YIELDS and self.application.spec.sync.automatic

    def changed_by(self, source: str, commit: str) -> bool:
        """Does ``commit`` of ``source`` hold other inputs of this application than the commit of this run?"""
        inputs = self._desired.inputs if hasattr(self, "_desired") else load_inputs(self.state.inputs)
        return any(
            not same(at.repository, at.commit, commit, paths(source, self.application, inputs))
            for at in self.sources
            if at.source.id == source
        )

    async def alone(self) -> Outcome:
        """The whole run, of an application that no other one's run waits for.

        :raises LeaseLostError: somebody else holds it now. :raises RedisError: nothing can be recorded.
        """
        try:
            await self.prepare()
            await self.apply()
            await self.prune(_always, Handover())
        except (asyncio.CancelledError, LeaseLostError, RedisError):
            raise
        except Exception as error:  # noqa: BLE001 - recorded as of any run
            self.fail(error)
        return await self.finish()

    # -- render and plan ------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Read what changed, compare it with what was applied, and let go of what other applications may now want.

        :raises OutOfSyncError: only a person may apply it.
        """
        self.sources = await self._find_sources()
        self.commit = self._progress.record.revision = self.sources[0].commit
        document = self._context.catalog.clusters[self.application.spec.destination.cluster]
        self._cluster = await self._context.clusters.get(document)
        self._applyset = self._cluster.applyset(self.application.name)
        await note_move(self._context.redis, self._context.queue, self._lease, self.state, document.name)
        back = await held(self._context, self.application, self.state, self._applyset, self.sources)
        self._hold = back.hold if back is not None else None
        if back is not None:
            self._go_back(back)
        by_hand = back is not None or self._instead is not None
        self._reading = Reading(
            self.application,
            self.state,
            self.sources,
            self._rendering,
            secret_key=self._context.secret_key,
            trusted=self._inventory_holds(),
        )
        with self._progress.timed("render"):
            self._desired = await self._reading.read()
        with self._progress.timed("plan"):
            pushed = bool(self._progress.record.event) or by_hand
            asked = Asked(self.application, self.state, self._desired, self.sources, pushed, self._limits)
            planner = Planner(self._context.redis, self._cluster, self._applyset, self._claims, asked)
            self._plan = await planner.plan(trusted=self._inventory_holds())
        self._progress.errors += self._plan.errors
        self._progress.record.unchanged = self._plan.unchanged
        self._progress.record.warnings = list(self._plan.warnings[:MOST_WARNINGS])
        self.unreadable = self._reading.unreadable(self._desired)
        what = "" if by_hand else withheld(self.application, self.state, self.commit, self._plan)
        if what:
            self.withheld = frozenset(wanted.key for wanted in self._plan.writes)
            raise OutOfSyncError(what)
        self._writer = Writer(
            self._context,
            self.application,
            progress=self._progress,
            cluster=self._cluster,
            lease=self._lease,
            manifests=self._desired.manifests,
            claims=self._claims,
            give_way=self._give_way,
            save=self._recorder.save_progress,
        )
        await self._claims.release(str(item.key) for item in self._plan.leaving)

    def _go_back(self, back: Held) -> None:
        """A rollback holds: this run makes true what was kept, not what the sources hold now."""
        self.sources, self._rendering = back.sources, back.rendering
        self.commit = self._progress.record.revision = back.hold.revision

    def _inventory_holds(self) -> bool:
        """Is what Redis knows of this application's objects what was applied by this very document?"""
        state = self.state
        cut_off = set(state.begun) - {self._tip}  # what such a run wrote, only the cluster knows
        return bool(state.revision) and state.document == self._digest and not (state.whole or cut_off)

    async def _render(self, at: SourceAt) -> Output | None:
        return await render(self._context, self._cluster, self.application, at)

    # -- apply and prune ------------------------------------------------------------------------------------------

    async def apply(self) -> None:
        """Claim what is new, then write what changed, in its order.

        :raises WaitingError: another application, or a step's health, comes first.
        """
        await self._writer.claim(self._plan)
        self.claimed = True
        standing = self.state.standing = going_on(self.state.standing, revision_of(self.sources))
        await self._await_dependencies()
        rollout = Rollout(
            self._writer,
            self._plan,
            standing,
            rules=self._context.health_rules(self.application),
            hooked=self.state.hooked,
            parent=self.state.parent,
        )
        await rollout.run()

    async def _await_dependencies(self) -> None:
        """:raises WaitingError: another application isn't yet what `dependsOn` asks for."""
        left = await missing(self._context, self.application, self._goes_first)
        if not left:
            return
        why, limit = f"waits until {' and '.join(left)}", ordering.timeout(self.application.spec.sync.timeout)
        if not wait_for(self.state.standing, DEPENDS_ON, left, why, limit):
            raise PermanentError(f"{why}: not within {limit:.0f} s (spec.sync.timeout)")
        raise WaitingError(why)

    async def prune(self, still_newest: Callable[[ApplicationRun], Awaitable[bool]], handover: Handover) -> None:
        """Delete what left and nobody else may want, after a last look for a newer commit."""

        async def last_look() -> None:
            if not await still_newest(self):
                self._give_way()

        pruner = Pruner(
            self._context,
            self._writer,
            self._claims,
            self.state.standing,
            owned=max(self.state.owned or self.state.objects, len(self._plan.leaving)),
            approved=self._is_approved(),
        )
        await pruner.prune(self._plan.leaving, last_look, handover.held(self.application, self._plan.leaving))

    def _is_approved(self) -> bool:
        """Has a person said yes to this commit's prune?"""
        key, said = application_key(self.application.name), self.state.approved.encode()
        return approvals(self._context.secret_key).opened(key, said) == self.commit.encode()

    def _give_way(self) -> None:
        """The safe point: between two objects' writes."""
        if self.superseded and self.may_yield:
            raise SupersededError("a newer commit changes this application")

    # -- record ---------------------------------------------------------------------------------------------------

    def note(self, *, fetch: str, durations: dict[str, float]) -> None:
        """What the source's job did for all of its applications."""
        self._progress.record.fetch = fetch
        self._progress.record.durations.update(durations)

    def fail(self, error: BaseException) -> None:
        """An error of the whole run, not of one object; or what else cut it short."""
        self._cause = error
        if isinstance(error, HeldError):
            self._hold = error.hold
        elif isinstance(error, OutOfSyncError | WaitingError):
            self._progress.record.waits = str(error)
        elif reported := as_error(error, self.application.name):
            self._progress.errors.append(reported)

    async def finish(self) -> Outcome:
        """Record what came of it, under the lease, and let go of that: a run that lost it records nothing.

        :raises LeaseLostError: somebody else holds this application now.
        """
        record, errors = self._progress.record, self._progress.errors
        ended = ending(self.state, self.commit, errors, self._cause, self._hold)
        record.phase, record.errors = ended.said, named(errors)
        if ended.verdict is Verdict.RESTS and ended.phase == "RolledBack":
            record.errors = [str(self._hold)]
        record.kept, record.taken = named(record.kept), named(record.taken)
        seconds = time.time() - record.started
        record.durations["total"] = round(seconds * 1000, 2)
        await self._save(ended)
        if ended.complete:
            self._keep()
        metrics.run_ended(record)
        tracing.run_ended(self.application.name, record, self._progress.began)
        log.info(
            "application.reconciled",
            application=self.application.name,
            revision=self.commit,
            phase=record.phase,
            applied=record.applied,
            pruned=record.pruned,
            unchanged=record.unchanged,
            waits=record.waits or None,
            errors=record.errors[:5],
            durations=record.durations,
        )
        cluster = self.application.spec.destination.cluster
        return Outcome(self.application.name, cluster, record.phase, tuple(record.errors), ended.retry_in, seconds)

    async def _save(self, ended: Ending) -> None:
        complete = ended.complete
        fields = {
            "wanted": self.commit,
            "source": self.application.source.id,
            "cluster": self.application.spec.destination.cluster,
            "parent": self._applyset.version if hasattr(self, "_applyset") else self.state.parent,
            "hold": self._hold.dump() if self._hold is not None else "",
        }
        fields |= grant(self.application, self.state, self.commit, complete=complete)
        if complete:
            inputs = self._desired.inputs
            fields |= {
                "revision": self.commit,
                # after a run of something else, what Git has is to be compared with all of it
                "document": self._digest if self._instead is None else "",
                "inputs": msgspec.json.encode(inputs).decode() if inputs else "",
                "revisions": self._reading.revisions(),
                "hooked": hooks_digest(self._plan.hooks),
            }
            if self.state.approved:
                fields["approved"] = ""  # a person's word is for one prune
        await self._recorder.save(
            fields,
            ended,
            moved=self._plan.moved,
            trigger=self._trigger,
            tip=self._tip,
            followed=self._reading.newly_followed(self._desired) if complete else (),
            repeated=is_repeated(self.state, self._progress.record, ended, self._cause),
        )

    def _keep(self) -> None:
        """Keep what was applied, beside the runs."""
        if self._context.keeping is None or self._hold is not None or self._instead is not None:
            return
        self._context.keeping.later(
            self.application,
            self.commit,
            {at.source.id: at.commit for at in self.sources},
            found=self._desired,
            everything=self._reading.everything,
            before=self.state.revision,
        )


class _Yielding:
    """The applications whose claims count for nothing here: the adopted one, and those without a document."""

    def __init__(self, context: Context, application: Application) -> None:
        self._context, self._adopts = context, application.spec.adopts

    def __contains__(self, name: object) -> bool:
        return name == self._adopts or name not in self._context.catalog.applications


async def _always(_: ApplicationRun) -> bool:
    """Nobody pushes what was asked for by hand: it is the newest."""
    return True
