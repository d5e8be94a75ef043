"""The manifest that an inventory entry was applied from, read again from Git, or rendered again from it.

What must hold: only what has the entry's very hash is it, in a commit that the source has. A file that changed, moved or left, a
commit that is not to be had, a source that can't be rendered: then there is none, and a whole run decides. Plain manifests are
read a file at a time; a render is most often the one that its run kept in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import structlog

from windlass.documents.types import Application, Source
from windlass.errors import WindlassError
from workers.aiogit import GitRepository
from workers.cluster import ClusterAccess
from workers.context import Context
from workers.desired import Output, SourceAt
from workers.ignore import IgnoreRules
from workers.kube.discovery import Resource
from workers.kube.keys import ObjectKey, group_of
from workers.plan import Entry, body, resolve, sketch
from workers.render.plain import Manifest
from workers.render.random_values import FieldPath
from workers.render.tree import ManifestReader
from workers.rendering import render
from workers.vouched import vouched

log = structlog.get_logger(__name__)

Found = tuple[Manifest, tuple[FieldPath, ...]]
"""A manifest, and the paths of what no two renders share."""


class Wanted(NamedTuple):
    """An object as Git says it, and how the cluster names its kind; ``random`` is what the cluster's values are kept of."""

    resource: Resource
    body: dict[str, Any]
    random: tuple[FieldPath, ...] = ()


class Manifests:
    """The manifests of one application, as far as they were applied."""

    def __init__(
        self,
        context: Context,
        access: ClusterAccess,
        application: Application,
        commits: Mapping[str, Iterable[str]],
    ) -> None:
        """``commits`` are, by source, those from which the objects may have been applied."""
        self._context, self._access, self._application = context, access, application
        self._ignore = IgnoreRules.of(application)
        self._commits = {source: tuple(dict.fromkeys(filter(None, some))) for source, some in commits.items()}

    async def read(self, entries: Mapping[str, Entry]) -> dict[str, Wanted]:
        """The manifests of these inventory entries, those that can be had."""
        found: dict[str, Wanted] = {}
        for source in self._application.spec.sources:
            for commit in self._commits.get(source.id, ()):
                left = {key: entry for key, entry in entries.items() if key not in found}
                if left and (repository := await self._here(source, commit)) is not None:
                    found |= await self._of(SourceAt(source, repository, commit), left)
        return found

    async def _here(self, source: Source, commit: str) -> GitRepository | None:
        """Have the commit; the worker that applied it may have been another one."""
        try:
            return await vouched(self._context, source, commit)
        except WindlassError as error:
            log.info("drift.no_commit", commit=commit, reason=str(error))
            return None

    async def _of(self, at: SourceAt, entries: Mapping[str, Entry]) -> dict[str, Wanted]:
        """Those of one source at one commit."""
        try:
            output = await render(self._context, self._access, self._application, at)
        except WindlassError as error:
            log.info("drift.no_render", commit=at.commit, path=at.source.path, reason=str(error))
            return {}
        reader, found = ManifestReader(at.repository), dict[str, Wanted]()
        rendered = _by_name(output, entries) if output is not None else {}
        for name, entry in entries.items():
            key = ObjectKey.parse(name)
            here = rendered.get(_name(key), ()) if output is not None else self._plain(at, reader, key, entry)
            wanted = await self._match(here, key, entry)
            if wanted is not None:
                found[name] = wanted
        return found

    def _plain(self, at: SourceAt, reader: ManifestReader, key: ObjectKey, entry: Entry) -> Iterator[Found]:
        """What the entry's file holds under the object's name."""
        if not entry.file:
            return
        try:
            blob = at.repository.file_id(at.commit, entry.file)
            manifests = reader.manifests(blob, entry.file) if blob is not None else []
        except WindlassError as error:
            log.info("drift.no_manifest", object=str(key), file=entry.file, reason=str(error))
            return
        for manifest in manifests:
            if (group_of(manifest.api_version), manifest.kind, manifest.name) == _name(key):
                yield manifest, ()

    async def _match(self, manifests: Iterable[Found], key: ObjectKey, entry: Entry) -> Wanted | None:
        """The one that the entry was applied from."""
        for manifest, random in manifests:
            item = sketch(manifest, "", 0, self._context.secret_key, random=random, ignore=self._ignore)
            resource = await self._access.discovery.resource(manifest.api_version, manifest.kind)
            if resource is None or item.hash != entry.hash:
                continue
            scoped = resource.namespaced
            if resolve(item, lambda *_: scoped, self._application.spec.destination.namespace) == key:  # noqa: B023 - called here
                return Wanted(resource, body(manifest, key), random)
        return None


def _name(key: ObjectKey) -> tuple[str, str, str]:
    return key.group, key.kind, key.name


def _by_name(output: Output, entries: Iterable[str]) -> dict[tuple[str, str, str], Sequence[Found]]:
    """The manifests of a render that may be those of ``entries``."""
    found: dict[tuple[str, str, str], list[Found]] = {_name(ObjectKey.parse(name)): [] for name in entries}
    for place, manifest in enumerate(output.manifests):
        here = found.get((group_of(manifest.api_version), manifest.kind, manifest.name))
        if here is not None:
            here.append((manifest, output.random.get(place, ())))
    return {name: tuple(some) for name, some in found.items()}
