"""What the runs of one worker process share: documents, connections, stores, keys. Made once, warm from then on."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import structlog
from redis.asyncio import Redis

from windlass.documents import ordering
from windlass.documents.catalog import Catalog, announce
from windlass.documents.directory import DocumentDirectory
from windlass.documents.health import HealthRule
from windlass.documents.types import Application, Cluster, Repository
from windlass.errors import WindlassError
from windlass.feed import Feed
from windlass.queue import LeaseKeeper, SourceQueue
from windlass.sealed import SealingKeys
from windlass.secrets import Secrets
from windlass.settings import Settings
from windlass.state import application_key
from workers.aiogit import GitRepository, Remote
from workers.cluster import Clusters
from workers.health import CompiledRules, Sandbox
from workers.keeping import Keeping
from workers.kept import KeptSets
from workers.notify.news import News
from workers.render.charts import Charts
from workers.render.renderer import Renderer

log = structlog.get_logger(__name__)

TIDY_SECONDS = 600.0
FORMER = 10_000
"""Digests of documents that were replaced, and are known for what they are."""


class Repositories:
    """The bare stores of the repositories in use; one is made anew when the document changes, or the secrets that it names."""

    def __init__(self, directory: Path, secrets: Secrets) -> None:
        self._directory, self._secrets = directory, secrets
        self._open: dict[str, tuple[Repository, GitRepository]] = {}
        self._lock = asyncio.Lock()

    async def get(self, document: Repository) -> GitRepository:
        """
        :raises TransientError: a secret isn't there.
        """
        wanted = remote(document, self._secrets)
        known = self._open.get(document.name)
        if known is not None and known[0] == document and known[1].remote == wanted:
            return known[1]
        async with self._lock:
            known = self._open.get(document.name)
            if known is not None and known[0] == document and known[1].remote == wanted:
                return known[1]
            if known is not None:
                await known[1].close()
            repository = GitRepository(self._directory / f"{document.name}.git", wanted)
            await repository.open()
            self._open[document.name] = document, repository
            return repository

    def all(self) -> list[GitRepository]:
        return [repository for _, repository in self._open.values()]

    async def close(self) -> None:
        for repository in self.all():
            await repository.close()
        self._open.clear()


def remote(document: Repository, secrets: Secrets) -> Remote:
    """The remote of a Repository document, its secrets resolved."""
    credentials = document.spec.credentials
    if credentials is None:
        return Remote(document.spec.url)
    text = {
        name: secrets.resolve(ref).decode()
        for name, ref in (("token", credentials.token), ("password", credentials.password))
        if ref is not None
    }
    binary = {
        name: secrets.resolve(ref)
        for name, ref in (("ssh_key", credentials.ssh_key), ("known_hosts", credentials.known_hosts))
        if ref is not None
    }
    password = text.get("password") or text.get("token")
    return Remote(
        document.spec.url,
        username=credentials.username or ("git" if password else None),
        password=password,
        ssh_key=binary.get("ssh_key"),
        known_hosts=binary.get("known_hosts"),
    )


class Context:
    """Everything that a run needs and that outlives it."""

    def __init__(
        self,
        settings: Settings,
        directory: DocumentDirectory,
        *,
        redis: Redis,
        queue: SourceQueue,
        leases: LeaseKeeper,
        secret_key: bytes,
        feed: Feed | None = None,
    ) -> None:
        self.settings, self.directory, self.feed = settings, directory, feed
        self.redis, self.queue, self.leases, self.secret_key = redis, queue, leases, secret_key
        self.secrets = Secrets(feed.secrets if feed is not None else None)
        keys = settings.keep_keys()
        self.keeping = Keeping(KeptSets(redis, SealingKeys(keys))) if keys else None
        self.catalog: Catalog = directory.load()
        self._former: dict[str, None] = {}
        announce(self.catalog)
        self.repositories = Repositories(settings.data / "git", self.secrets)
        self.clusters = Clusters(self.secrets, settings.installation)
        self.dependents = _dependents(self.catalog)
        self.news = News(redis, lambda: self.catalog)
        self._charts = Charts(settings.charts, settings.data / "charts")
        self.renderer = Renderer(self.secrets, pull=self._charts.pull)
        self._renderer_opened: asyncio.Task[None] | None = None
        self._sandbox = Sandbox()
        self._rules: dict[str, tuple[tuple[HealthRule, ...], CompiledRules]] = {}

    async def open_renderer(self) -> None:
        """What programs need is looked for when one is needed first."""
        if self._renderer_opened is None:
            self._renderer_opened = asyncio.create_task(self.renderer.open())
        await asyncio.shield(self._renderer_opened)

    def health_rules(self, application: Application) -> CompiledRules | None:
        """The application's own rules of health, compiled once for each version of its document."""
        asked = application.spec.health
        if not asked:
            return None
        known = self._rules.get(application.name)
        if known is None or known[0] != asked:
            known = self._rules[application.name] = asked, CompiledRules(asked, self._sandbox)
        return known[1]

    def reload(self) -> bool:
        """Read the documents again if they changed."""
        fresh = self.directory.reload_if_changed()
        if fresh is None:
            return False
        before, now = ({view.digest for view in one.queued.values()} for one in (self.catalog, fresh))
        self._former = dict.fromkeys([*self._former, *(before - now)][-FORMER:])
        self.catalog, self.dependents = fresh, _dependents(fresh)
        announce(fresh)
        return True

    def is_former(self, digest: str) -> bool:
        """Were these documents this worker's, before they changed? Who still queues by them hasn't read the change yet."""
        return digest in self._former

    async def has_inventory(self, application: str) -> bool:
        """Has a run of ``application`` recorded what it applied, since Redis' memory began?"""
        return bool(await self.redis.hget(application_key(application), "revision"))

    async def ask_whole(self, application: Application, reason: str) -> None:
        """Queue a run that compares everything with the cluster, as `windlass sync` does."""
        await self.redis.hincrby(application_key(application.name), "whole", 1)
        view = self.catalog.sources.get(application.source.id)
        if view is not None:
            await self.queue.nudge(view.id, digest=view.digest, reason=reason, dirty=[application.name])

    async def warm(self) -> None:
        """Connect to the clusters before the first push comes: it must not wait for handshakes and discovery."""
        await asyncio.gather(*map(self._warm, self.catalog.clusters.values()))
        # What is known by now lives long: let no collection look at it while a push waits.
        gc.collect()
        gc.freeze()

    async def _warm(self, document: Cluster) -> None:
        try:
            access = await self.clusters.get(document)
            await access.discovery.resource("v1", "Namespace")
        except WindlassError as error:
            log.warning("cluster.unreachable", cluster=document.name, error=str(error))

    async def hear(self) -> None:
        """Follow the custom resources that the watcher hands on, where the settings say so."""
        if self.feed is not None:
            await self.feed.follow()

    async def tidy(self) -> None:
        """Pack what the fetches left behind, now and then; a store that needs nothing is left alone."""
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            for repository in self.repositories.all():
                try:
                    await repository.gc()
                except WindlassError as error:
                    log.warning("git.not_tidied", error=str(error))

    async def close(self) -> None:
        if self.feed is not None:
            await self.feed.close()
        await self.news.close()
        if self.keeping is not None:
            await self.keeping.close()
        await self.repositories.close()
        await self.clusters.close()
        await asyncio.to_thread(self._sandbox.close)
        await self._charts.close()
        self.renderer.close()


def _dependents(catalog: Catalog) -> dict[str, list[Application]]:
    """Who waits for whom: by an application's name those that depend on it."""
    found: dict[str, list[Application]] = {}
    for application in catalog.applications.values():
        for dependency in ordering.dependencies(application.spec.sync.depends_on):
            found.setdefault(dependency.application, []).append(application)
    return found
