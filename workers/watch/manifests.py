"""The manifest that an inventory entry was applied from, read again from Git.

What must hold: only what has the entry's very hash is it. A file that changed, moved or left, a commit that is not to be
had, an entry made by a renderer: then there is none, and a whole run decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import structlog

from windlass.documents.types import Application
from windlass.errors import WindlassError
from workers.aiogit import GitRepository
from workers.context import Context
from workers.ignore import IgnoreRules
from workers.kube.discovery import Discovery, Resource
from workers.kube.keys import ObjectKey, group_of
from workers.plan import Entry, body, resolve, sketch
from workers.render.tree import ManifestReader

log = structlog.get_logger(__name__)


class Wanted(NamedTuple):
    """An object as Git says it, and how the cluster names its kind."""

    resource: Resource
    body: dict[str, Any]


class Manifests:
    """The manifests of one application, as far as they were applied."""

    def __init__(self, context: Context, application: Application, commits: Iterable[str]) -> None:
        """``commits`` are those from which the objects may have been applied."""
        self._context, self._application = context, application
        self._ignore = IgnoreRules.of(application)
        self._commits = tuple(dict.fromkeys(filter(None, commits)))

    async def read(self, discovery: Discovery, entries: Mapping[str, Entry]) -> dict[str, Wanted]:
        """The manifests of these inventory entries, those that can be had."""
        repository = await self._repository()
        reader = ManifestReader(repository)
        found: dict[str, Wanted] = {}
        for commit in self._commits:
            left = {key: entry for key, entry in entries.items() if key not in found and entry.file}
            if not left or not await self._here(repository, commit):
                continue
            for key, entry in left.items():
                wanted = await self._manifest(repository, reader, discovery, commit, ObjectKey.parse(key), entry)
                if wanted is not None:
                    found[key] = wanted
        return found

    async def _repository(self) -> GitRepository:
        return await self._context.repositories.get(
            self._context.catalog.repositories[self._application.source.repository]
        )

    async def _here(self, repository: GitRepository, commit: str) -> bool:
        """Have the commit; the worker that applied it may have been another one."""
        if repository.has(commit):
            return True
        source = self._application.source
        try:
            await repository.fetch(source.ref, commit, paths=[source.path], name=f"{source.id}-drift")
        except WindlassError as error:
            log.info("drift.no_commit", commit=commit, reason=str(error))
            return False
        return True

    async def _manifest(
        self,
        repository: GitRepository,
        reader: ManifestReader,
        discovery: Discovery,
        commit: str,
        key: ObjectKey,
        entry: Entry,
    ) -> Wanted | None:
        try:
            blob = repository.file_id(commit, entry.file)
            manifests = reader.manifests(blob, entry.file) if blob is not None else []
        except WindlassError as error:
            log.info("drift.no_manifest", object=str(key), file=entry.file, reason=str(error))
            return None
        for place, manifest in enumerate(manifests):
            if (group_of(manifest.api_version), manifest.kind, manifest.name) != (key.group, key.kind, key.name):
                continue
            item = sketch(manifest, blob or "", place, self._context.secret_key, ignore=self._ignore)
            resource = await discovery.resource(manifest.api_version, manifest.kind)
            if resource is None or item.hash != entry.hash:
                continue
            scoped = resource.namespaced
            if resolve(item, lambda *_: scoped, self._application.spec.destination.namespace) == key:  # noqa: B023 - called here
                return Wanted(resource, body(manifest, key))
        return None
