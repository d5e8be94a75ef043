"""What an image that is promoted sets going: the applications that follow the branch, and the promotions after this one."""

from __future__ import annotations

import time

from windlass.documents.promotions import PromotionView
from windlass.queue.sources import Mark
from workers.context import Context
from workers.promote.state import PromotionState


async def landed(context: Context, view: PromotionView, state: PromotionState) -> None:
    """Who follows the target's branch applies it at once, also where no webhook tells of our own push or merge.

    :raises RedisError: it is away.
    """
    image, ref = state.image, f"refs/heads/{view.promotion.spec.target.branch}"
    url = view.repository.spec.url
    following = [one for one in context.catalog.sources.values() if (one.repository.spec.url, one.ref) == (url, ref)]
    what = f"image {image.tag} of {view.promotion.name}" if image else view.promotion.name
    marks = [Mark(one.id, state.merge, "", what, one.digest) for one in following]
    if marks:
        await context.queue.mark(marks, event="", delivery="", received_at=time.time())


async def release(context: Context, done: str) -> None:
    """Promotions that wait for ``done`` go on at once.

    :raises RedisError: it is away.
    """
    for view in context.catalog.promotions.values():
        if any(after.promotion == done for after in view.promotion.spec.gates.after):
            await context.queue.nudge(view.id, digest=view.digest, reason=f"{done} is promoted")
