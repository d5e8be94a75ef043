"""Whether a pull request is merged by itself, where its promotion asks for that: as it was looked at, and nothing else.

What must hold: nobody who may push to a branch gets more merged than the image: what others pushed to it a person merges. And
nothing is merged whose plan, where one is made, isn't good for that very commit.
"""

from __future__ import annotations

import time

import msgspec

from windlass.documents.promotions import PromotionView
from windlass.forges.pulls import PullRequest, PullRequests
from windlass.queue import previews
from workers.context import Context
from workers.preview.again import asked_for
from workers.promote.state import PromotionState

THEIRS = "others pushed to it: a person merges it"


async def merged_by_itself(
    context: Context, view: PromotionView, pulls: PullRequests, pull: PullRequest, state: PromotionState
) -> tuple[PullRequest, PromotionState]:
    """The open ``pull``, whose head is ``state.head`` unless the forge lags, as it is afterwards; and what is known of it.

    :raises RefusedError: the forge's answer. :raises RedisError: it is away.
    """
    if pull.commit != state.head:
        return pull, state
    why = "" if state.alone else THEIRS
    why = why or await _plan(context, view, pull, state)
    if why:
        if state.scheduled:
            await pulls.unschedule(pull)
        return pull, msgspec.structs.replace(state, scheduled=False, why=why)
    outcome = await pulls.merge(pull, view.promotion.spec.pull_request.merge_method)
    scheduled = outcome == "scheduled" or (outcome == "waiting" and state.scheduled)
    if outcome == "merged":
        pull = await pulls.get(pull.number)
    return pull, msgspec.structs.replace(state, scheduled=scheduled, why="")


async def _plan(context: Context, view: PromotionView, pull: PullRequest, state: PromotionState) -> str:
    """What there is against merging it, by its plan; "" if nothing is."""
    name = view.repository.name
    if not asked_for(view.repository):
        return ""
    told = (await previews.remembered(context.redis, name)).get(pull.number)
    if told is not None and told.head == pull.commit and told.verdict:
        return "" if told.verdict == "success" else "its plan found errors"
    if state.why:  # not for the first time: its webhook may be lost
        mark = previews.mark(name, pull.number, f"pull request {pull.number}, before it is merged")
        await context.queue.mark([mark], event="", delivery="", received_at=time.time())
    return "its plan is not made yet"


async def planned(context: Context, repository: str) -> None:
    """A plan was made: promotions whose merge may wait for it go on at once.

    :raises RedisError: it is away.
    """
    for view in context.catalog.promotions.values():
        if view.repository.name == repository and view.promotion.spec.pull_request.auto_merge:
            await context.queue.nudge(view.id, digest=view.digest, reason="a plan was made")
