"""What must come true before an image is proposed: other environments, checks, a time for which all of it holds, a person.

What must hold: an earlier environment counts for this very image only, and its application only once it has applied the commit
that brought it there, and is healthy.
"""

from __future__ import annotations

from windlass.documents import ordering
from windlass.documents.promotion import After
from windlass.documents.promotions import PromotionView
from windlass.queue.promotions import Image
from windlass.state import read_state
from workers.context import Context
from workers.dependencies import healthy
from workers.promote.aftermath import contains, located
from workers.promote.checks import Pages, unmet
from workers.promote.state import PromotionState, PromotionStore


class Gates:
    """The gates of one worker's promotions."""

    def __init__(self, context: Context, store: PromotionStore) -> None:
        self._context, self._store = context, store
        self._pages = Pages()

    async def close(self) -> None:
        await self._pages.close()

    async def unmet(self, view: PromotionView, image: Image) -> str:
        """The first of after and checks that doesn't hold now, in words; "" if all do."""
        gates = view.promotion.spec.gates
        for after in gates.after:
            if missing := await self._after(after, image):
                return missing
        for check in gates.checks:
            if missing := await unmet(self._pages, check, view.promotion, image, self._context.settings.checks):
                return missing
        return ""

    async def soaking(self, view: PromotionView, passed: float, now: float) -> float:
        """Seconds for which the others must hold longer; 0 if they have for long enough."""
        soak = view.promotion.spec.gates.soak
        wanted = (ordering.seconds(soak) or 0.0) if soak is not None else 0.0
        return max(0.0, passed + wanted - now)

    async def needs_approval(self, view: PromotionView, image: Image) -> bool:
        """Must a person still say yes to this image?"""
        asked = view.promotion.spec.gates.approval
        return asked and await self._store.approved(view.promotion.name) != image.identity

    async def _after(self, after: After, image: Image) -> str:
        before = await self._store.read(after.promotion)
        there = before.image is not None and _same(before.image, image) and before.phase in ("Merged", "Promoted")
        if not there:
            return f"promotion {after.promotion} has brought {image.tag}"
        if after.application is not None and not await self._holds(after, before):
            return f"application {after.application} is healthy with {image.tag}"
        return ""

    async def _holds(self, after: After, before: PromotionState) -> bool:
        assert after.application is not None
        application = self._context.catalog.applications[after.application]
        target = self._context.catalog.promotions[f"promotion_{after.promotion}"]
        state = await read_state(self._context.redis, application.name)
        sources = [s for s in application.spec.sources if s.repository == target.repository.name]
        revisions = [state.revision_of(source.id) for source in sources]
        if state.phase != "Synced" or not revisions:
            return False
        repository = await self._context.repositories.get(target.repository)
        merge = await located(repository, target.promotion.spec.target.branch, before.merge, revisions)
        brought = any(contains(repository, merge, revision) for revision in revisions)
        return brought and await healthy(self._context, application)


def _same(one: Image, other: Image) -> bool:
    """Environments may have heard of an image from different senders, one of whom knew no digest."""
    return one.tag == other.tag and (one.digest == other.digest or not one.digest or not other.digest)
