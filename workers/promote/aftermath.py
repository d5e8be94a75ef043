"""What became of a merged promotion: by application, whether its cluster has it, and whether it is healthy there. Only reads.

What must hold: an application counts as applied only once the commit that it is at contains the merge; and only those are
named that read a file that the promotion edited, in a repository of any number of applications.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import pygit2

from windlass.documents.promotions import PromotionView
from windlass.documents.types import Application
from windlass.health import DEGRADED, HEALTHY
from windlass.state import ApplicationState, read_states
from workers.aiogit import GitRepository
from workers.context import Context
from workers.followed import load_inputs, paths
from workers.promote.restore import look
from workers.promote.state import PromotionState

Stage = Literal["waiting", "applied", "healthy", "degraded", "failed"]
_ABBREVIATED = re.compile(r"[0-9a-f]{7,39}")


class Standing(NamedTuple):
    """One application after the merge. ``why``: what it waits for, or what went wrong, in words of the cluster."""

    application: str
    cluster: str
    stage: Stage
    revision: str = ""
    why: str = ""


async def standings(context: Context, view: PromotionView, promotion: PromotionState) -> list[Standing]:
    """The applications that the merge touches, by name."""
    target = view.promotion.spec.target
    files, followers = promotion.files or (target.path,), list(_followers(context, view))
    if not followers:
        return []
    states = await read_states(context.redis, [application.name for application, _ in followers])
    touched = [
        (application, source, state)
        for (application, source), state in zip(followers, states, strict=True)
        if _touches(files, paths(source, application, load_inputs(state.inputs)))
    ]
    repository = await context.repositories.get(view.repository)
    reached = [state.revision_of(source) for _, source, state in touched]
    merge = await located(repository, target.branch, promotion.merge, reached)
    return [_standing(repository, merge, *one) for one in touched]


def _followers(context: Context, view: PromotionView) -> Iterator[tuple[Application, str]]:
    """The applications that follow the target's branch, by name, with the source by which they do."""
    ref = f"refs/heads/{view.promotion.spec.target.branch}"
    for _, application in sorted(context.catalog.applications.items()):
        for source in application.spec.sources:
            if source.repository == view.repository.name and source.ref == ref:
                yield application, source.id
                break


def _touches(files: Iterable[str], followed: Iterable[str]) -> bool:
    return any(_within(file, path) or _within(path, file) for path in followed for file in files)


def _within(path: str, folder: str) -> bool:
    return folder == "" or path == folder or path.startswith(f"{folder}/")


def _standing(
    repository: GitRepository, merge: str, application: Application, source: str, state: ApplicationState
) -> Standing:
    name, cluster = application.name, application.spec.destination.cluster
    revision, last = state.revision_of(source), state.last
    if state.phase == "Synced" and contains(repository, merge, revision):
        if state.health.status == HEALTHY:
            return Standing(name, cluster, "healthy", revision)
        stage: Stage = "degraded" if state.health.status == DEGRADED else "applied"
        return Standing(name, cluster, stage, revision, state.health.why)
    if not contains(repository, merge, state.wanted) or last is None:
        return Standing(name, cluster, "waiting")
    if state.phase in ("Failed", "Retrying", "RolledBack"):
        return Standing(name, cluster, "failed", state.wanted, "; ".join(last.errors[:3]) or state.phase)
    return Standing(name, cluster, "waiting", "", last.waits)


def contains(repository: GitRepository, merge: str, revision: str) -> bool:
    """Is ``merge`` among the commits that led to ``revision``? False where one of them is not here."""
    return revision != "" and repository.has(revision) and repository.is_ancestor(merge, revision)


async def located(repository: GitRepository, branch: str, merge: str, revisions: Iterable[str]) -> str:
    """The whole id of ``merge``, here with these revisions of ``branch``, which another worker may have fetched. "": unknown.

    :raises GitError: and its kinds: the branch can't be fetched.
    """
    found = await whole_id(repository, merge)
    if merge and not all(map(repository.has, (found, *filter(None, revisions)))):
        await look(repository, branch, name="promotion-after")
        found = await whole_id(repository, merge)
    return found


async def whole_id(repository: GitRepository, merge: str) -> str:
    """The commit that a forge names, which may abbreviate it (Bitbucket Cloud does); "" if it isn't here, or not the only one."""
    if not _ABBREVIATED.fullmatch(merge):
        return merge
    return await asyncio.to_thread(_expanded, repository.directory, merge)


def _expanded(directory: Path, abbreviated: str) -> str:
    try:
        found = pygit2.Repository(str(directory)).get(abbreviated)
    except (ValueError, pygit2.GitError):  # ambiguous
        return ""
    return str(found.id) if isinstance(found, pygit2.Commit) else ""
