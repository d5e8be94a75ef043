"""One application's run: render, plan, apply, prune, record. `workers.reconcile` tells when.

What must hold: what Git no longer names is deleted only after everything it names was applied, and never because of an
error; each object's hash is recorded as it is applied, so that whoever comes next continues here.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import structlog

from windlass.documents.types import Application, Limits
from windlass.errors import LeaseLostError, PermanentError, SupersededError, TransientError
from windlass.queue import Lease
from windlass.state import ApplicationState, RunRecord
from workers.aiogit import Change
from workers.cluster import ClusterAccess
from workers.context import Context
from workers.desired import Desired, Output, SourceAt, desired
from workers.followed import load_inputs, paths, same
from workers.inventory import Claims, read_all_entries, read_entries
from workers.kube.applyset import ApplySet, Member
from workers.kube.keys import ObjectKey
from workers.plan import Entry, Leaving, ObjectError, Plan, Sketch, plan, resolve
from workers.render.plain import is_manifest
from workers.render.tree import Rendered
from workers.tip import PATIENCE
from workers.writes import Progress, Writer

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 12
"""Runs in a row that fail on one commit before it is left to the next one."""
FIRST_RETRY, LONGEST_RETRY = 1.0, 300.0
LONGEST_AWAY = 30.0
"""Seconds until a cluster that is away is asked for again; for as long as it takes, since to ask costs next to nothing."""
MAX_YIELDS = 3
"""After so many runs in a row that gave way to a newer commit, one is finished: nobody starves."""
ATTEMPTS_REMEMBERED = 10
"""Commits tried since the last complete one whose trees are looked at again; beyond that, the cluster is asked."""


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
        event: str,
        received: float | None,
        lease: Lease,
        state: ApplicationState,
    ) -> None:
        """``trigger`` is the source whose job this is, and ``commit`` its tip; ``sources`` finds all of the
        application's."""
        self.application, self.commit, self._trigger, self._find_sources = application, commit, trigger, sources
        self.sources: Sequence[SourceAt] = ()
        self.state, self.superseded = state, False
        self._limits = context.catalog.limits_of(application)
        self._digest = document_digest(application, self._limits)
        self._context, self._lease = context, lease
        self._cluster: ClusterAccess
        self._applyset: ApplySet
        self._writer: Writer
        self._desired: Desired
        record = RunRecord(event=event, revision=self.commit, phase="Syncing", started=time.time(), received=received)
        self._progress = Progress(record)
        self._away = False
        self._plan = Plan((), {}, (), (), 0)
        self._claims = Claims(
            context.redis,
            application.spec.destination.cluster,
            application.name,
            yielding=_Yielding(context, application),
        )

    @property
    def _primary(self) -> SourceAt:
        return self.sources[0]

    @property
    def leaving(self) -> bool:
        return bool(self._plan.leaving)

    @property
    def may_yield(self) -> bool:
        return self.state.yields < MAX_YIELDS

    def changed_by(self, source: str, commit: str) -> bool:
        """Does ``commit`` of ``source`` hold other inputs of this application than the commit of this run?"""
        inputs = self._desired.inputs if hasattr(self, "_desired") else load_inputs(self.state.inputs)
        return any(
            not same(at.repository, at.commit, commit, paths(source, self.application, inputs))
            for at in self.sources
            if at.source.id == source
        )

    # -- render and plan ------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Read what changed, compare it with what was applied, and let go of what other applications may now want."""
        self.sources = await self._find_sources()
        self.commit = self._progress.record.revision = self.sources[0].commit
        document = self._context.catalog.clusters[self.application.spec.destination.cluster]
        self._cluster = await self._context.clusters.get(document)
        self._applyset = self._cluster.applyset(self.application.name)
        with self._progress.timed("render"):
            self._desired = await desired(self.sources, self._render, self._changes, self._context.secret_key)
            rendered = self._desired.rendered
        with self._progress.timed("plan"):
            await self._discover(rendered)
            if self._desired.by_changes:
                await self._plan_changes(rendered)
            elif (self._desired.inputs or len(self.sources) > 1) and self._inventory_holds():
                await self._plan_inventory(rendered)
            else:
                await self._plan_whole(rendered)
        self._progress.errors += rendered.errors
        self._progress.errors += self._plan.errors
        self._progress.record.unchanged = self._plan.unchanged
        self._writer = Writer(
            self._context,
            self.application,
            self._plan,
            progress=self._progress,
            cluster=self._cluster,
            lease=self._lease,
            manifests=self._desired.manifests,
            limits=self._limits,
            claims=self._claims,
            parent=self.state.parent,
            give_way=self._give_way,
            save=self._save_progress,
        )
        await self._claims.release(str(item.key) for item in self._plan.leaving)

    def _changes(self) -> list[Change] | None:
        """The files that differ from those last applied; None: the cluster must be asked what is there."""
        state, path = self.state, self.application.source.path
        if not self._inventory_holds() or state.inputs:
            return None
        bases = [state.revision, *state.attempted]
        if len(bases) > ATTEMPTS_REMEMBERED or not all(map(self._primary.repository.has, bases)):
            return None
        changes: dict[tuple[str, str | None], Change] = {}
        for base in bases:
            for change in self._primary.repository.diff(base, self.commit, path):
                changes[change.path, change.old] = change
        return list(changes.values())

    def _inventory_holds(self) -> bool:
        """Is what Redis knows of this application's objects what was applied by this very document?"""
        state = self.state
        return bool(state.revision) and state.document == self._digest and not state.whole

    async def _render(self, place: int, at: SourceAt) -> Output | None:
        return None

    def _all_files(self) -> list[Change]:
        return self._primary.repository.diff(None, self.commit, self.application.source.path)

    async def _discover(self, rendered: Rendered) -> None:
        """Learn, once each, how the cluster names the kinds at hand (most often from memory)."""
        self._defined = {
            (group, kind): scoped for group, kind, scoped in filter(None, (s.defines for s in rendered.wanted))
        }
        self._scopes: dict[tuple[str, str], bool | None] = {}
        for api_version, kind in {(s.api_version, s.kind) for s in (*rendered.wanted, *rendered.before)}:
            resource = await self._cluster.discovery.resource(api_version, kind)
            group = api_version.rpartition("/")[0]
            self._scopes[api_version, kind] = resource.namespaced if resource else self._defined.get((group, kind))

    def _scope(self, api_version: str, kind: str) -> bool | None:
        return self._scopes.get((api_version, kind))

    async def _plan_changes(self, rendered: Rendered) -> None:
        wanted, destination = _once(rendered.wanted), self.application.spec.destination
        named = {str(key) for s in (*wanted, *rendered.before) if isinstance(key := self._key(s), ObjectKey)}
        entries = await read_entries(self._context.redis, self.application.name, sorted(named))
        self._plan = plan(
            wanted,
            rendered.before,
            entries,
            scope=self._scope,
            namespace=destination.namespace,
            changed_files=rendered.files,
            limits=self._limits,
        )
        if self._plan.leaving and not wanted and not rendered.errors:
            await self._refuse_empty(len(self._plan.leaving))

    async def _plan_inventory(self, rendered: Rendered) -> None:
        """Everything that the sources want against everything that was applied."""
        wanted = _once(rendered.wanted)
        entries = await read_all_entries(self._context.redis, self.application.name)
        self._plan = self._planned(wanted, entries)
        named = {str(key) for s in wanted if isinstance(key := self._key(s), ObjectKey)}
        gone = [ObjectKey.parse(name) for name in sorted(entries.keys() - named)]
        self._plan = self._plan._replace(leaving=tuple([Leaving(key, await self._version(key)) for key in gone]))
        if not wanted and not rendered.errors:
            await self._refuse_empty(len(gone))

    async def _version(self, key: ObjectKey) -> str:
        """The API version by which the cluster prefers to name the kind of ``key``."""
        resource = await self._cluster.discovery.preferred(key.group, key.kind)
        return resource.api_version if resource is not None else "/".join(filter(None, (key.group, "v1")))

    def _planned(
        self, wanted: Sequence[Sketch], applied: Mapping[str, Entry], stale: frozenset[str] = frozenset()
    ) -> Plan:
        return plan(
            wanted,
            (),
            applied,
            scope=self._scope,
            namespace=self.application.spec.destination.namespace,
            changed_files=None,
            stale=stale,
            limits=self._limits,
        )

    async def _plan_whole(self, rendered: Rendered) -> None:
        """Everything that Git wants against everything that the cluster says is ours: no copy of the inventory is believed."""
        wanted = _once(rendered.wanted)
        members, unlisted = await self._applyset.members(self._cluster.discovery)
        self._refuse_rewind()
        ours = {str(member.key): member for member in members if member.ours}
        known = await read_entries(self._context.redis, self.application.name, sorted(ours))
        self._plan = self._planned(
            wanted,
            {name: Entry(member.hash, member.fields, "") for name, member in ours.items()},
            frozenset(name for name, member in ours.items() if self._drifted(member, known.get(name))),
        )
        for group_kind, reason in unlisted.items():
            self._progress.errors.append(
                ObjectError(group_kind, "", 0, f"can't be listed, so nothing of it is pruned: {reason}", retry=True)
            )
        named = {str(key) for s in wanted if isinstance(key := self._key(s), ObjectKey)}
        await self._claims.assert_ours(sorted(named & ours.keys()))
        gone = tuple(Leaving(m.key, m.api_version) for name, m in ours.items() if name not in named)
        self._plan = self._plan._replace(leaving=gone)
        if not wanted and not rendered.errors:
            await self._refuse_empty(len(gone))

    def _refuse_rewind(self) -> None:
        """Redis forgot what is applied, the cluster did not: an older tip that no push named is not believed at once.

        :raises TransientError: it is looked at again; what is the tip still, `PATIENCE` seconds later, is believed.
        """
        applied, last = self._applyset.revision, self.state.last
        if self._progress.record.event or applied in ("", self.commit) or not self._primary.repository.has(applied):
            return
        if not self._primary.repository.is_ancestor(self.commit, applied):
            return
        seen_before = last is not None and last.revision == self.commit and time.time() - last.started >= PATIENCE
        if not seen_before:
            raise TransientError(f"the tip is older than {applied[:10]}, which is applied: waiting whether it stays so")

    def _drifted(self, member: Member, known: Entry | None) -> bool:
        """Was the object changed behind our back? By a person's tool, or in the fields that we own."""
        if any(map(self._cluster.is_human, member.managers)):
            return True
        return known is not None and known.hash == member.hash and bool(known.fields) and known.fields != member.fields

    async def _refuse_empty(self, leaving: int) -> None:
        """An empty render is a mistake more often than a wish: it is an error, and deletes nothing."""
        plain = len(self.sources) == 1 and not self._desired.inputs
        manifests = plain and any(is_manifest(change.path) for change in self._all_files())
        if manifests and leaving < max(self.state.objects, 1):
            return
        path = self.application.source.path or "/"
        message = f"no manifests in {path} at {self.commit[:10]}: nothing is applied and nothing is pruned"
        self._progress.errors.append(ObjectError("", path, 0, message))
        self._plan = self._plan._replace(leaving=())

    def _key(self, item: Sketch) -> ObjectKey | ObjectError:
        return resolve(item, self._scope, self.application.spec.destination.namespace)

    # -- apply and prune ------------------------------------------------------------------------------------------

    async def apply(self) -> None:
        """Write what changed."""
        await self._writer.apply()

    async def prune(self, still_newest: Callable[[ApplicationRun], Awaitable[bool]]) -> None:
        """Delete what left, after a last look for a newer commit."""

        async def last_look() -> None:
            if not await still_newest(self):
                self._give_way()

        await self._writer.prune(last_look)

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
        """An error of the whole run, not of one object."""
        if isinstance(error, SupersededError):
            self._progress.record.phase = "Superseded"
            return
        self._away = isinstance(error, TransientError)
        retry = not isinstance(error, PermanentError) and getattr(error, "retryable", True)
        self._progress.errors.append(
            ObjectError("", self.application.name, 0, str(error) or type(error).__name__, retry=retry)
        )

    async def finish(self) -> Outcome:
        """Record what came of it, under the lease: a run that lost it records nothing.

        :raises LeaseLostError: somebody else holds this application now.
        """
        superseded = self._progress.record.phase == "Superseded"
        retry_in = self._retry_in()
        phase = (
            "Syncing" if superseded else "Synced" if not self._progress.errors else "Retrying" if retry_in else "Failed"
        )
        self._progress.record.phase = "Superseded" if superseded else phase
        self._progress.record.errors = [str(error) for error in self._progress.errors[:100]]
        seconds = time.time() - self._progress.record.started
        self._progress.record.durations["total"] = round(seconds * 1000, 2)
        complete = not self._progress.errors and not superseded
        await self._save(phase, complete=complete)
        log.info(
            "application.reconciled",
            application=self.application.name,
            revision=self.commit,
            phase=self._progress.record.phase,
            applied=self._progress.record.applied,
            pruned=self._progress.record.pruned,
            unchanged=self._progress.record.unchanged,
            errors=self._progress.record.errors[:5],
            durations=self._progress.record.durations,
        )
        return Outcome(
            self.application.name,
            self.application.spec.destination.cluster,
            self._progress.record.phase,
            tuple(self._progress.record.errors),
            0.0 if superseded else retry_in,
            seconds,
        )

    def _retry_in(self) -> float | None:
        """Seconds until the failed objects are tried again; None: only a new commit can help, or nothing failed."""
        if not any(error.retry for error in self._progress.errors):
            return None
        if self._attempts() > MAX_ATTEMPTS:
            return LONGEST_AWAY if self._away else None
        return float(min(FIRST_RETRY * 2 ** (self._attempts() - 1), LONGEST_AWAY if self._away else LONGEST_RETRY))

    def _attempts(self) -> int:
        return self.state.attempts + 1 if self.state.wanted == self.commit else 1

    async def _save(self, phase: str, *, complete: bool) -> None:
        self._progress.done.update({name: entry.dump() for name, entry in self._plan.moved.items()})
        attempted = () if complete else (*dict.fromkeys((*self.state.attempted, self.commit)),)
        fields = {
            "phase": phase,
            "wanted": self.commit,
            "source": self.application.source.id,
            "parent": self._applyset.version if hasattr(self, "_applyset") else self.state.parent,
            "attempted": " ".join(attempted),
            "attempts": "0" if complete else str(self._attempts()),
            "yields": str(self.state.yields + 1) if self._progress.record.phase == "Superseded" else "0",
            "last": msgspec.json.encode(self._progress.record).decode(),
        }
        if complete:
            inputs = self._desired.inputs
            fields |= {
                "revision": self.commit,
                "document": self._digest,
                "inputs": msgspec.json.encode(inputs).decode() if inputs else "",
                "revisions": self._revisions(),
            }
        await self._context.queue.record(
            self._lease,
            self.application.name,
            state=fields,
            set_objects=self._progress.done,
            drop_objects=self._progress.gone,
            history=b"" if self._again() else msgspec.json.encode(self._progress.record),
            clean=self._trigger if complete else None,
            whole=self.state.whole,
            followed=self._newly_followed() if complete else (),
        )

    def _again(self) -> bool:
        """Is this one of many retries (as while a cluster is away) that came to nothing new? History holds it once."""
        last, record = self.state.last, self._progress.record
        same = last is not None and (last.revision, last.errors) == (record.revision, record.errors)
        return same and not record.applied and (self._away or self._attempts() > MAX_ATTEMPTS)

    def _revisions(self) -> str:
        """The commits of all sources, where there are several."""
        if len(self.sources) == 1:
            return ""
        return msgspec.json.encode({at.source.id: at.commit for at in self.sources}).decode()

    def _newly_followed(self) -> list[str]:
        """The sources of which this application now reads other paths than before."""
        before, now = load_inputs(self.state.inputs), self._desired.inputs
        places = {
            place for place in before.keys() | now.keys() if before.get(place, {}).keys() != now.get(place, {}).keys()
        }
        return [at.source.id for place, at in enumerate(self.sources) if place in places]

    async def _save_progress(self) -> None:
        done, self._progress.done = self._progress.done, {}
        await self._context.queue.record(self._lease, self.application.name, state={}, set_objects=done)
        if self._lease.lost:
            raise LeaseLostError(f"application {self.application.name} is somebody else's now")


class _Yielding:
    """The applications whose claims count for nothing here: the adopted one, and those without a document."""

    def __init__(self, context: Context, application: Application) -> None:
        self._context, self._adopts = context, application.spec.adopts

    def __contains__(self, name: object) -> bool:
        return name == self._adopts or name not in self._context.catalog.applications


def _once(sketches: Sequence[Sketch]) -> list[Sketch]:
    """A file that differs from several commits is read for each of them: its manifests count once."""
    return list({(s.file, s.place): s for s in sketches}.values())
