"""What an image was made of: its source's commits since the one of the image before, for who reviews the pull request.

What must hold: it is read from the repository that the promotion names, by that one's credentials, whatever the image's sender
says; no promotion fails for it, or waits longer than `PATIENCE` while a history comes for the first time; what people wrote in
it is told as text.
"""

from __future__ import annotations

import asyncio

import pygit2
import structlog

from windlass.documents.promotions import PromotionView
from windlass.errors import WindlassError
from windlass.queue.promotions import Image
from workers.aiogit import GitRepository
from workers.aiogit.address import is_object_id
from workers.context import Context

log = structlog.get_logger(__name__)

PATIENCE = 10.0
"""Seconds."""
MOST = 20
"""Commits that are told of."""


class Sources:
    """The histories of the promotions' code."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._fetching: dict[str, asyncio.Task[None]] = {}

    async def commits(self, view: PromotionView, image: Image, since: str) -> list[str]:
        """A line each, the newest first: id, subject, author. ``since``: the commit of the image before, "" if nobody knows;
        then only that of ``image``. None where the promotion names no repository of its code, or it can't be read now."""
        document = self._context.catalog.repositories.get(view.promotion.spec.source or "")
        if document is None or not is_object_id(image.commit):
            return []
        try:
            repository = await self._context.repositories.get(document)
            name = view.promotion.name
            if name not in self._fetching:
                self._fetching[name] = asyncio.create_task(
                    _fetched(repository, image.commit, f"promotion-{name}-source")
                )
                self._fetching[name].add_done_callback(lambda _: self._fetching.pop(name, None))
            await asyncio.wait({self._fetching[name]}, timeout=PATIENCE)
            if not repository.has(image.commit):
                return []
            until = since if since != image.commit and repository.is_ancestor(since, image.commit) else ""
            return await asyncio.to_thread(_lines, repository, image.commit, until)
        except (WindlassError, pygit2.GitError) as error:
            log.info("promotion.no_source", promotion=view.promotion.name, reason=str(error))
            return []

    async def close(self) -> None:
        for task in self._fetching.values():
            task.cancel()
        await asyncio.gather(*self._fetching.values(), return_exceptions=True)


async def _fetched(repository: GitRepository, commit: str, name: str) -> None:
    """A large history goes on coming after `PATIENCE`: the next pull request has it."""
    try:
        await repository.fetch(commit, commit, name=name)
    except WindlassError as error:
        log.info("promotion.no_source", commit=commit, reason=str(error))


def _lines(repository: GitRepository, commit: str, until: str) -> list[str]:
    """In a thread."""
    store = pygit2.Repository(str(repository.directory))
    walker = store.walk(pygit2.Oid(hex=commit), pygit2.enums.SortMode.TOPOLOGICAL)
    if until:
        walker.hide(pygit2.Oid(hex=until))
    found: list[str] = []
    for one in walker:
        if len(found) == (MOST if until else 1):
            return [*found, "and more"] if until else found
        subject = one.message.lstrip().partition("\n")[0]
        found.append(f"{str(one.id)[:10]} {subject[:100]} ({one.author.name[:40]})")
    return found
