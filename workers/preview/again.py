"""When a pull request is looked at again though its own webhook says nothing: its base moved, or the webhook never arrived.

What must hold: this only wakes. A push has those looked at that touch an application which it changed, and no other; the forge
is asked for all that are open as seldom as for the tips, and only where plans are asked for.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

import structlog

from windlass.documents.types import Repository
from windlass.forges.pulls import PullRequest
from windlass.queue import previews
from windlass.queue.previews import Told
from workers.context import Context
from workers.promote.forge import ForgeAccess

log = structlog.get_logger(__name__)


def asked_for(document: Repository) -> bool:
    """Are its pull requests told what they would change?"""
    api = document.spec.pull_requests
    return api is not None and api.plan


async def base_moved(context: Context, document: Repository, ref: str, applications: Iterable[str]) -> None:
    """``ref`` was pushed to, which changed these applications: what does each open pull request into it change now?

    :raises RedisError: it is away.
    """
    if not asked_for(document) or not (changed := set(applications)):
        return
    known = await previews.remembered(context.redis, document.name)
    await _mark(context, document.name, stale(known, ref, changed), f"push to {ref.removeprefix('refs/heads/')}")


def stale(known: Mapping[int, Told], ref: str, changed: set[str]) -> list[int]:
    """The pull requests into ``ref`` that touch one of the applications ``changed``, or may no longer conflict."""
    return [
        number
        for number, told in known.items()
        if f"refs/heads/{told.base}" == ref and (told.conflicts or not changed.isdisjoint(told.applications))
    ]


async def look_for_missed(context: Context, forge: ForgeAccess, document: Repository, refs: Iterable[str]) -> None:
    """Ask the forge what is open into these refs, and have looked at what isn't as it was told of last.

    :raises WindlassError: the forge doesn't say. :raises RedisError: it is away.
    """
    pulls = await (await forge.pull_requests(document)).open()
    known = await previews.remembered(context.redis, document.name)
    numbers = missed(known, [pull for pull in pulls if f"refs/heads/{pull.base}" in set(refs)])
    await _mark(context, document.name, numbers, "poll")


def missed(known: Mapping[int, Told], pulls: Iterable[PullRequest]) -> list[int]:
    """The open pull requests of which nothing was told, or of another head or base."""
    told = {number: (one.base, one.head) for number, one in known.items()}
    return [pull.number for pull in pulls if told.get(pull.number) != (pull.base, pull.commit)]


async def _mark(context: Context, repository: str, numbers: Iterable[int], reason: str) -> None:
    marks = [previews.mark(repository, number, f"pull request {number}, after a {reason}") for number in numbers]
    if marks:
        log.info("pulls.again", repository=repository, pulls=len(marks), reason=reason)
        await context.queue.mark(marks, event=reason, delivery="", received_at=time.time())
