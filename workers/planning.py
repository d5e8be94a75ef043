"""From what the sources hold to a plan: compared with what changed, with the inventory, or with the whole cluster.

The cheapest comparison that can be trusted is made: of the files that changed, where one source of plain manifests is all
there is; of everything with Redis' inventory; and, where that may not hold, with what the cluster says is ours.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from redis.asyncio import Redis

from windlass.documents.types import Application, Limits
from windlass.errors import TransientError
from windlass.state import ApplicationState
from workers.cluster import ClusterAccess
from workers.desired import Desired, SourceAt
from workers.ignore import IgnoreRules
from workers.inventory import Claims, read_all_entries, read_entries
from workers.kube.applyset import ApplySet, Member, is_parent
from workers.kube.keys import ObjectKey
from workers.plan import Entry, Leaving, ObjectError, Plan, Sketch, plan, resolve
from workers.render.plain import is_manifest
from workers.slices import in_slices, sliced
from workers.tip import PATIENCE


class Asked(NamedTuple):
    """What a plan is asked of: who the application is, what is known of it, and what it wants."""

    application: Application
    state: ApplicationState
    desired: Desired
    sources: Sequence[SourceAt]
    pushed: bool  # a verified push led to this run
    limits: Sequence[Limits]


class Planner:
    """Makes one plan."""

    def __init__(self, redis: Redis, cluster: ClusterAccess, applyset: ApplySet, claims: Claims, asked: Asked) -> None:
        self._redis, self._cluster, self._applyset, self._claims = redis, cluster, applyset, claims
        self._application, self._state, self._desired, self._sources, self._pushed, self._limits = asked
        self._rendered, self._namespace = asked.desired.rendered, asked.application.spec.destination.namespace
        self._wanted = _once(self._rendered.wanted)
        self._scopes: dict[tuple[str, str], bool | None] = {}
        self._errors = list(self._rendered.errors)
        self._ignore = IgnoreRules.of(self._application)

    async def plan(self, *, trusted: bool) -> Plan:
        """What to write and what leaves. ``trusted``: Redis' inventory is what this very document applied.

        :raises TransientError: an older tip that nobody named is not believed yet.
        """
        await self._discover()
        if self._desired.by_changes:
            found = await self._by_changes()
        elif trusted:
            found = await self._by_inventory()
        else:
            found = await self._by_cluster()
        if not (self._wanted or self._rendered.errors) and (found.leaving or not self._desired.by_changes):
            found = await self._never_empty(found)
        warnings = (*self._desired.warnings, *found.warnings)
        return found._replace(errors=(*self._errors, *found.errors), warnings=warnings)

    async def _discover(self) -> None:
        """Learn, once each, how the cluster names the kinds at hand (most often from memory)."""
        self._scopes = await scopes(self._cluster, (*self._wanted, *self._rendered.before))

    def _scope(self, api_version: str, kind: str) -> bool | None:
        return self._scopes.get((api_version, kind))

    def _refuse(self, key: ObjectKey) -> str:
        if is_parent(key, self._cluster.namespace):
            return "is Windlass' own record of what an application owns"
        return ""

    async def _by_changes(self) -> Plan:
        before = self._rendered.before
        names = await self._named((*self._wanted, *before))
        entries = await read_entries(self._redis, self._application.name, sorted(names))
        return await self._compared(entries, before, changed_files=self._rendered.files)

    async def _by_inventory(self) -> Plan:
        entries = await read_all_entries(self._redis, self._application.name)
        gone = sorted(entries.keys() - await self._named(self._wanted))
        keys = [ObjectKey.parse(name) for name in gone]
        leaving = [Leaving(key, await self._version(key)) for key in keys]
        return (await self._compared(entries))._replace(leaving=tuple(leaving))

    async def _version(self, key: ObjectKey) -> str:
        """The API version by which the cluster prefers to name the kind of ``key``."""
        resource = await self._cluster.discovery.preferred(key.group, key.kind)
        return resource.api_version if resource is not None else "/".join(filter(None, (key.group, "v1")))

    async def _by_cluster(self) -> Plan:
        """No copy of the inventory is believed: one metadata list of every kind says what is ours."""
        members, unlisted = await self._applyset.members(self._cluster.discovery)
        self._refuse_rewind()
        ours = {str(member.key): member async for member in sliced(members) if member.ours and not member.is_hook}
        known = await read_entries(self._redis, self._application.name, sorted(ours))
        for group_kind, reason in unlisted.items():
            message = f"can't be listed, so nothing of it is pruned: {reason}"
            self._errors.append(ObjectError(group_kind, "", 0, message, retry=True))
        named = await self._named(self._wanted)
        await self._claims.assert_ours(sorted(named & ours.keys()))
        applied, stale = dict[str, Entry](), set[str]()
        async for name, member in sliced(ours.items()):
            applied[name] = Entry(member.hash, member.fields, "")
            if self._drifted(member, known.get(name)):
                stale.add(name)
        found = await self._compared(applied, stale=frozenset(stale))
        return found._replace(
            leaving=tuple(Leaving(m.key, m.api_version) for name, m in ours.items() if name not in named)
        )

    async def _compared(
        self,
        applied: Mapping[str, Entry],
        before: Sequence[Sketch] = (),
        *,
        changed_files: frozenset[str] | None = None,
        stale: frozenset[str] = frozenset(),
    ) -> Plan:
        """What is wanted against what is applied: of the files that changed, or (None) everything against everything."""
        return await in_slices(
            plan(
                self._wanted,
                before,
                applied,
                scope=self._scope,
                namespace=self._namespace,
                changed_files=changed_files,
                stale=stale,
                limits=self._limits,
                refuse=self._refuse,
            )
        )

    async def _named(self, sketches: Sequence[Sketch]) -> set[str]:
        keys = sliced(resolve(item, self._scope, self._namespace) for item in sketches)
        return {str(key) async for key in keys if isinstance(key, ObjectKey)}

    def _refuse_rewind(self) -> None:
        """Redis forgot what is applied, the cluster did not: an older tip that no push named is not believed at once.

        :raises TransientError: it is looked at again; what is the tip still, `PATIENCE` seconds later, is believed.
        """
        commit, repository = self._sources[0].commit, self._sources[0].repository
        applied, last = self._applyset.revision, self._state.last
        if self._pushed or applied in ("", commit) or not repository.has(applied):
            return
        if not repository.is_ancestor(commit, applied):
            return
        seen_before = last is not None and last.revision == commit and time.time() - last.started >= PATIENCE
        if not seen_before:
            raise TransientError(f"the tip is older than {applied[:10]}, which is applied: waiting whether it stays so")

    def _drifted(self, member: Member, known: Entry | None) -> bool:
        """Was the object changed behind our back? By a person's tool, or in the fields that we own."""
        left = self._ignore.of_key(member.key)
        if any(self._cluster.is_human(one) and not (left and left.is_left_to(one)) for one in member.managers):
            return True
        return known is not None and known.hash == member.hash and bool(known.fields) and known.fields != member.fields

    async def _never_empty(self, found: Plan) -> Plan:
        """An empty render is a mistake more often than a wish: it is an error, and deletes nothing."""
        first, plain = self._sources[0], len(self._sources) == 1 and not self._desired.inputs
        # What an earlier try has pruned already is named again, and isn't there any more.
        there = await read_entries(self._redis, self._application.name, [str(item.key) for item in found.leaving])
        if plain and len(there) < max(self._state.objects, 1):
            files = first.repository.iter_diff(None, first.commit, first.source.path)
            if any(is_manifest(change.path) for change in files):
                return found
        path = first.source.path or "/"
        message = f"no manifests in {path} at {first.commit[:10]}: nothing is applied and nothing is pruned"
        self._errors.append(ObjectError("", path, 0, message))
        return found._replace(leaving=())


async def scopes(cluster: ClusterAccess, sketches: Sequence[Sketch]) -> dict[tuple[str, str], bool | None]:
    """Which of the kinds (apiVersion, kind) at hand are namespaced; None: the cluster has it not, nor will it soon."""
    found: dict[tuple[str, str], bool | None] = {}
    defined = {(group, kind): scoped for group, kind, scoped in filter(None, (s.defines for s in sketches))}
    for api_version, kind in {(s.api_version, s.kind) for s in sketches}:
        resource = await cluster.discovery.resource(api_version, kind)
        group = api_version.rpartition("/")[0]
        found[api_version, kind] = resource.namespaced if resource else defined.get((group, kind))
    return found


def _once(sketches: Sequence[Sketch]) -> list[Sketch]:
    """A file that differs from several commits is read for each of them: its manifests count once."""
    return list({(s.source, s.file, s.place): s for s in sketches}.values())
