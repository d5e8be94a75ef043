"""How what Git says differs from what the cluster has: object by object, by dry runs, as a run would write them.

What must hold: nothing is written, neither to the cluster (`workers.kube.dry_run`) nor to Redis, and no lease is taken, so that
anybody may ask at any time. No value of a Secret leaves this module: that one changed is said, not what it was or is.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import yaml

from windlass.documents.accounts import account_of
from windlass.documents.types import Application
from windlass.errors import PermanentError
from windlass.state import read_state
from workers.cluster import ClusterAccess
from workers.concurrency import together
from workers.context import Context
from workers.desired import Desired, Rendering, SourceAt, desired, everything
from workers.directives import directives
from workers.following import Following
from workers.guards import kept_because
from workers.ignore import IgnoreRules
from workers.inventory import Claims
from workers.kube.applyset import is_parent
from workers.kube.contest import Rules
from workers.kube.dry_run import DryRun, DryRunClient, Foreseen, plain
from workers.kube.errors import ApiError
from workers.kube.keys import ObjectKey
from workers.plan import ObjectError, Plan, Wanted, body, plan
from workers.planning import scopes
from workers.render.random_values import kept
from workers.rendering import render
from workers.slices import in_slices
from workers.vouched import vouched

Status = Literal["changed", "missing", "pruned", "error"]

HIDDEN, CHANGED = "(hidden)", "(hidden: its value changes)"
CONTEXT_LINES = 3


class Difference(NamedTuple):
    """One object that isn't as Git says. ``text`` is a unified diff from the cluster to Git; ``message`` why there is none."""

    object: str
    status: Status
    file: str = ""
    text: str = ""
    message: str = ""


class Compared(NamedTuple):
    """What came of a comparison with ``revision``; ``same`` is the number of objects that are as Git says."""

    revision: str
    differences: tuple[Difference, ...]
    same: int


class Comparison:
    """An application's objects at a commit, beside those in its cluster."""

    def __init__(
        self,
        context: Context,
        access: ClusterAccess,
        application: Application,
        rendering: Rendering | None = None,
    ) -> None:
        """``access`` must be one that can't write: `looking_at`. ``rendering``: in place of what the sources hold."""
        if not isinstance(access.client, DryRunClient):
            raise TypeError("a comparison is made by dry runs only")
        self._context, self._access, self._application = context, access, application
        self._applyset = access.applyset(application.name)
        self._ignore = IgnoreRules.of(application)
        self._claims = Claims(context.redis, access.document.name, application.name, yielding=())
        account = account_of(application.spec.destination, context.settings.default_service_account)
        member = access.members(account)
        assert isinstance(member, DryRunClient)
        force = application.spec.sync.force
        self._dry_run = DryRun(member, Rules(application.manager, self._applyset.id, force, self._may_take))
        self._rendering = rendering or self._render
        self._found: list[Difference] = []
        self._same = 0

    async def compare(self, sources: Sequence[SourceAt]) -> Compared:
        """Every object of the sources, and every object of the application that they no longer name.

        :raises WindlassError: the sources can't be read, or the cluster can't be asked.
        """
        wanted = await desired(sources, self._rendering, everything, self._context.secret_key, self._ignore)
        planned = await self._plan(wanted)
        self._found = [_failed(error) for error in (*wanted.rendered.errors, *planned.errors)]
        queue = iter(planned.writes)

        async def each() -> None:
            for one in queue:
                async with self._access.limiter:
                    await self._look(one, wanted)

        await together(min(len(planned.writes), self._access.limiter.maximum), each)
        named = {str(one.key) for one in planned.writes} | {error.object for error in planned.errors}
        if not self._found or all(one.status != "error" for one in self._found):
            await self._leaving(named)  # after an error nothing is pruned, so nothing is said to be
        order = {"error": 0, "missing": 1, "changed": 2, "pruned": 3}
        found = sorted(self._found, key=lambda one: (order[one.status], one.object))
        return Compared(sources[0].commit, tuple(found), self._same)

    async def _render(self, at: SourceAt) -> Any:
        return await render(self._context, self._access, self._application, at)

    async def _plan(self, wanted: Desired) -> Plan:
        known = await scopes(self._access, wanted.rendered.wanted)

        def refuse(key: ObjectKey) -> str:
            own = is_parent(key, self._access.namespace)
            return "is Windlass' own record of what an application owns" if own else ""

        work = plan(
            wanted.rendered.wanted,
            (),
            {},
            scope=lambda api_version, kind: known.get((api_version, kind)),
            namespace=self._application.spec.destination.namespace,
            changed_files=None,
            limits=self._context.catalog.limits_of(self._application),
            refuse=refuse,
        )
        return await in_slices(work)

    async def _look(self, one: Wanted, wanted: Desired) -> None:
        name, file = str(one.key), one.sketch.file
        wished = body(wanted.manifests.manifest(one.sketch), one.key)
        resource = await self._access.discovery.resource(one.sketch.api_version, one.sketch.kind)
        if resource is None:  # its definition comes with the same commit
            self._found.append(Difference(name, "missing", file, difference(name, None, wished)))
            return
        try:
            live = await self._dry_run.read(resource, one.key)
            if live is not None and one.sketch.random:
                wished = kept(wished, live, one.sketch.random)
            left = self._ignore.of_key(one.key)
            seen = await self._dry_run.foresee(resource, wished, digest=one.sketch.hash, live=live, left=left)
        except ApiError as error:
            self._found.append(Difference(name, "error", file, message=str(error)))
            return
        self._tell(name, file, seen)

    def _tell(self, name: str, file: str, seen: Foreseen) -> None:
        if text := difference(name, seen.live, seen.then):
            self._found.append(Difference(name, "missing" if seen.live is None else "changed", file, text))
        else:
            self._same += 1

    async def _leaving(self, named: set[str]) -> None:
        """What a run would prune; as a run, without what asks to stay."""
        if not self._application.spec.sync.prune:
            return
        members, _ = await self._applyset.members(self._access.discovery)
        for member in members:
            name = str(member.key)
            if not member.ours or member.is_hook or name in named:
                continue
            metadata = await self._access.metadata(member.key, member.api_version)
            if metadata is None:
                continue
            said = directives(metadata.get("annotations"), member.key.group_kind)
            if not kept_because(member.key, said):
                self._found.append(Difference(name, "pruned"))

    async def _may_take(self, other: str, key: ObjectKey) -> bool:
        """As a run decides it (`workers.writes`)."""
        if other == self._application.spec.adopts:
            return True
        if other not in self._context.catalog.applications or not await self._context.has_inventory(other):
            return False
        return (await self._claims.holders([str(key)])).get(str(key)) == self._application.name


def looking_at(access: ClusterAccess) -> ClusterAccess:
    """The same cluster, through a client that can't write."""
    return ClusterAccess(access.document, DryRunClient.over(access.client), access.installation)


async def wanted_sources(context: Context, application: Application) -> list[SourceAt]:
    """The application's sources at the commits that its last run aimed at; where there was none, at their tips.

    :raises WindlassError: a repository can't be read.
    """
    state = await read_state(context.redis, application.name)
    found = []
    for place, source in enumerate(application.spec.sources):
        commit = state.wanted if not place else await context.queue.processed(source.id)
        if not commit:
            repository = await context.repositories.get(context.catalog.repositories[source.repository])
            commit = await Following(repository, source.ref).tip() or ""
        if not commit:
            raise PermanentError(f"{source.repository}: there is no {source.ref}")
        found.append(SourceAt(source, await vouched(context, source, commit), commit))
    return found


def _failed(error: ObjectError) -> Difference:
    return Difference(error.object or error.file, "error", error.file, message=str(error))


# -- for people -----------------------------------------------------------------------------------------------------


def difference(name: str, live: dict[str, Any] | None, then: dict[str, Any]) -> str:
    """A unified diff of two objects as YAML, from the cluster's to Git's, without any value of a Secret; "" if they are equal."""
    before, after = hidden(plain(live) if live is not None else None, plain(then))
    lines = difflib.unified_diff(
        _lines(before), _lines(after), f"cluster/{name}", f"git/{name}", lineterm="", n=CONTEXT_LINES
    )
    return "\n".join(lines)


def hidden(live: dict[str, Any] | None, then: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Both without the values of a Secret, annotations included: tools keep copies of the whole object there."""
    if (then.get("apiVersion"), then.get("kind")) != ("v1", "Secret"):
        return live, then
    before: dict[str, Any] = dict(live) if live is not None else {}
    after = dict(then)
    for holder_before, holder_after, fields in _holders(before, after):
        for field in fields:
            old, new = holder_before.get(field), holder_after.get(field)
            if isinstance(old, dict):
                holder_before[field] = dict.fromkeys(old, HIDDEN)
            elif old is not None:
                holder_before[field] = HIDDEN
            if isinstance(new, dict):
                known = old if isinstance(old, dict) else {}
                holder_after[field] = {k: HIDDEN if known.get(k, v) == v else CHANGED for k, v in new.items()}
            elif new is not None:
                holder_after[field] = HIDDEN if new == old else CHANGED
    return (before if live is not None else None), after


def _holders(
    before: dict[str, Any], after: dict[str, Any]
) -> Iterable[tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]]:
    yield before, after, ("data", "stringData")
    for one in (before, after):
        one["metadata"] = dict(one.get("metadata") or {})
    yield before["metadata"], after["metadata"], ("annotations",)
    if not before["metadata"]:
        del before["metadata"]


def _lines(obj: dict[str, Any] | None) -> list[str]:
    if obj is None:
        return []
    return yaml.dump(obj, Dumper=yaml.CSafeDumper, allow_unicode=True, width=1 << 16).splitlines()
