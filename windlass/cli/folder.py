"""`windlass deploy --path`: a folder without any document becomes an application for as long as the command runs.

What must hold: its name is one that no document can have (`deploy.NAME`), so that it never owns what an application of the same
name does; what it owns is written in the cluster, so that the next command knows it wherever it runs, with or without a Redis.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from windlass.cli.remove import working
from windlass.cli.up import start_redis
from windlass.documents import syntax
from windlass.documents.ordering import seconds
from windlass.documents.rendering import HelmOptions
from windlass.documents.types import (
    Application,
    ApplicationSpec,
    Cluster,
    ClusterSpec,
    Destination,
    RepositorySpec,
    Source,
    Sync,
)
from windlass.documents.types import Repository as RepositoryDocument
from windlass.errors import PermanentError
from windlass.settings import Settings
from workers.context import Context
from workers.desired import SourceAt
from workers.folder import ADDRESS, opened, take
from workers.render.commit_tree import CommitTree

PREFIX = "deploy."
CURRENT = "kubeconfig"
"""What the cluster of the current kubeconfig is called."""


class Asked(NamedTuple):
    """The command's options. ``cluster`` names a document; without one the kubeconfig's context counts."""

    path: Path
    name: str | None
    cluster: str | None
    context: str | None
    namespace: str
    timeout: str | None

    @property
    def title(self) -> str:
        """What the application is called after.

        :raises PermanentError: it can't be.
        """
        name = self.name or re.sub(r"[^a-z0-9]+", "-", self.path.resolve().name.lower()).strip("-")
        if not syntax.valid_label(name):
            raise PermanentError(
                f"{name!r} can't be the name: say one with --name, of lower-case letters, digits and hyphens"
            )
        return name


class Opened(NamedTuple):
    """What a run needs."""

    context: Context
    application: Application
    sources: list[SourceAt]


@asynccontextmanager
async def folder(settings: Settings, asked: Asked) -> AsyncIterator[Opened]:
    """The application that the folder is, in a context in which it can be run.

    :raises WindlassError: an option can't be meant, or the folder can't be read.
    """
    if asked.timeout is not None and seconds(asked.timeout) is None:
        raise PermanentError(
            f"--timeout {asked.timeout}: expected a duration such as 90s, 5m or 1h30m, of a day at most"
        )
    if not syntax.valid_label(asked.namespace):
        raise PermanentError(f"--namespace {asked.namespace}: expected the name of a namespace")
    name = PREFIX + asked.title
    async with _memory(settings, asked) as (usable, fresh), working(usable) as context:
        if fresh:
            await context.queue.epoch(fresh=True)
        cluster = _cluster(context, asked)
        with tempfile.TemporaryDirectory(prefix="windlass-folder-") as scratch:
            repository = await opened(Path(scratch) / "store.git")
            try:
                commit, path = await asyncio.to_thread(take, repository, asked.path)
                source = Source(repository=name, commit=commit, path=path)
                if context.renderer.kind(CommitTree(repository, commit), source) == "helm":
                    source = msgspec.structs.replace(source, helm=HelmOptions(release=asked.title))
                destination = Destination(cluster.name, asked.namespace)
                spec = ApplicationSpec((source,), destination, Sync(automatic=False, timeout=asked.timeout))
                application = Application(name, spec)
                context.catalog = context.catalog._replace(
                    repositories={
                        **context.catalog.repositories,
                        name: RepositoryDocument(name, RepositorySpec(ADDRESS)),
                    },
                    clusters={**context.catalog.clusters, cluster.name: cluster},
                    applications={**context.catalog.applications, name: application},
                )
                yield Opened(context, application, [SourceAt(source, repository, commit)])
            finally:
                await repository.close()


@asynccontextmanager
async def _memory(settings: Settings, asked: Asked) -> AsyncIterator[tuple[Settings, bool]]:
    """The settings with a Redis. The installation's is for its own clusters: a kubeconfig has one for this command alone, of
    which the second part tells."""
    if asked.cluster is not None:
        yield settings, False
        return
    with tempfile.TemporaryDirectory(prefix="windlass-redis-") as scratch:
        process, url = await start_redis(scratch)
        try:
            yield msgspec.structs.replace(settings, redis_url=url), True
        finally:
            process.terminate()
            await process.wait()


def _cluster(context: Context, asked: Asked) -> Cluster:
    """The document that is named, else the current kubeconfig's."""
    if asked.cluster is None:
        file = os.environ.get("KUBECONFIG") or "~/.kube/config"
        return Cluster(CURRENT, ClusterSpec(kubeconfig=file, context=asked.context))
    known = context.catalog.clusters.get(asked.cluster)
    if known is None:
        raise PermanentError(f"there is no valid Cluster {asked.cluster} in {context.settings.documents}")
    return known
