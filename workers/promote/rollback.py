"""Back to an earlier revision by way of Git: a pull request that takes an application's folders back to what they were.

What must hold: Git stays the truth: the cluster changes only once somebody merges it. Without a revision it goes back to the
last one that was healthy, and whose folders are others than the branch's now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import structlog

from windlass.documents.editing import Commit
from windlass.documents.types import Application, Repository
from windlass.errors import PermanentError
from windlass.forges.pulls import PullRequest, PullRequests, Wanted
from windlass.health import DEGRADED, HEALTHY
from windlass.state import ApplicationState, RunRecord, read_history, read_state
from workers.aiogit import GitRepository
from workers.context import Context
from workers.followed import load_inputs, paths, same
from workers.promote import words
from workers.promote.aftermath import whole_id
from workers.promote.forge import ForgeAccess
from workers.promote.identity import Identity, Key, Signer
from workers.promote.restore import Restore, look, restore

log = structlog.get_logger(__name__)


class Followed(NamedTuple):
    """What an application has of one branch of a repository."""

    repository: Repository
    branch: str
    folders: tuple[str, ...]
    source: str


class Proposed(NamedTuple):
    """The pull request. ``left``: what the application also reads, and is not as it was."""

    pull: PullRequest
    revision: str
    files: tuple[str, ...]
    left: tuple[str, ...]


def branch_of(application: Application) -> str:
    return f"rollback/{application.name}"


async def propose_rollback(context: Context, forge: ForgeAccess, application: Application, asked: str = "") -> Proposed:
    """Open (or change) the pull request that takes the application back to ``asked``, a commit or its beginning.

    :raises PermanentError: there is no such revision, nothing differs, or the repository's document names no way to its forge.
    :raises WindlassError: and what `workers.promote.restore` and `windlass.forges.calls` raise.
    """
    state = await read_state(context.redis, application.name)
    history = await read_history(context.redis, application.name)
    for followed in _followed(context, application):
        pulls = await forge.pull_requests(followed.repository)
        repository = await context.repositories.get(followed.repository)
        tip = await look(repository, followed.branch)
        revision = await _revision(repository, followed, tip, history, asked)
        if revision:
            return await _propose(context, pulls, application, followed, repository, tip, revision, state)
    raise PermanentError(_none(application, asked))


def _followed(context: Context, application: Application) -> list[Followed]:
    folders: dict[tuple[str, str, str], list[str]] = {}
    for source in application.spec.sources:
        if source.branch is not None:
            folders.setdefault((source.repository, source.branch, source.id), []).append(source.path)
    if not folders:
        raise PermanentError(f"{application.name} follows no branch, so no pull request can take it back")
    return [
        Followed(context.catalog.repositories[name], branch, tuple(dict.fromkeys(found)), source)
        for (name, branch, source), found in folders.items()
    ]


async def _revision(
    repository: GitRepository, followed: Followed, tip: str, history: Sequence[RunRecord], asked: str
) -> str:
    """The commit of this branch to go back to; "" if it has none."""
    if asked:
        found = await whole_id(repository, asked)
        return found if repository.is_ancestor(found, tip) else ""
    for record in history:
        healthy = record.phase == "Synced" and record.health == HEALTHY
        before = healthy and repository.is_ancestor(record.revision, tip)
        if before and not same(repository, record.revision, tip, followed.folders):
            return record.revision
    return ""


def _none(application: Application, asked: str) -> str:
    branches = ", ".join(dict.fromkeys(s.branch for s in application.spec.sources if s.branch is not None))
    if asked:
        return f"no commit of {branches} begins with {asked[:40]}"
    return (
        f"no earlier revision that was seen healthy differs from {branches}: name one "
        f"(see `windlass history {application.name}`)"
    )


async def _propose(
    context: Context,
    pulls: PullRequests,
    application: Application,
    followed: Followed,
    repository: GitRepository,
    tip: str,
    revision: str,
    state: ApplicationState,
) -> Proposed:
    why, branch = _why(state), branch_of(application)
    title = f"{application.name}: back to {revision[:10]}"
    signer, identity = _identity(context, followed)
    try:
        message = f"{title}\n\n{why}\n" if why else f"{title}\n"
        wanted = Restore(followed.branch, branch, revision, followed.folders, message, identity, signer)
        made = await restore(repository, tip, wanted)
    finally:
        if signer is not None:
            signer.close()
    read = paths(followed.source, application, load_inputs(state.inputs))
    left = tuple(sorted(path for path in read if not same(repository, revision, made.commit, (path,))))
    body = words.rollback(application, revision, made.files, left, why)
    pull = await _shown(pulls, followed, branch, title, body)
    log.info("rollback.proposed", application=application.name, revision=revision, url=pull.url, files=len(made.files))
    return Proposed(pull, revision, made.files, left)


async def _shown(pulls: PullRequests, followed: Followed, branch: str, title: str, body: str) -> PullRequest:
    found = await pulls.find(branch, followed.branch)
    if found is not None and found.state == "open":
        await pulls.update(found, title, body)
        return found
    return (await pulls.create(Wanted(branch, followed.branch, title, body)))[0]


def _why(state: ApplicationState) -> str:
    """What is wrong with the present revision, as far as anybody knows; on one line."""
    if state.phase in ("Failed", "Retrying", "RolledBack") and state.last is not None:
        return words.line("; ".join(state.last.errors[:3]))
    return words.line(state.health.why) if state.health.status == DEGRADED else ""


def _identity(context: Context, followed: Followed) -> tuple[Signer | None, Identity]:
    """As whom promotions commit to the same branch, where there are any."""
    commit = Commit()
    for _, view in sorted(context.catalog.promotions.items()):
        target = view.promotion.spec.target
        if (target.repository, target.branch) == (followed.repository.name, followed.branch):
            commit = view.promotion.spec.commit
            break
    signing = commit.signing
    signer = Signer(Key(signing.kind, context.secrets.resolve(signing.key))) if signing is not None else None
    return signer, Identity(commit.name, commit.email)
