"""A commit that Redis names, not the forge: believed only where its source has it, and signed as its repository's document asks.

A run of a source asks the forge for the tip. Whoever works between two runs (drift, another source of the application, a
deletion's hooks, `windlass diff` and `deploy`) goes by what Redis remembers. What must hold: who writes Redis, and may push any
branch or open a pull request (a server hands out whatever it has), chooses nothing that is applied. So such a commit is the
source's tip or an ancestor of it: as this store saw the tip, or, where it has not, as the forge shows it now.
"""

from __future__ import annotations

from windlass.documents.types import Source
from windlass.errors import TransientError
from workers.aiogit import GitRepository
from workers.aiogit.address import is_object_id
from workers.context import Context
from workers.following import Following
from workers.signed import policy


class NotVouchedError(TransientError):
    """The source does not have the commit, as far as anybody knows. Its own next run says what it has."""


async def vouched(context: Context, source: Source, commit: str) -> GitRepository:
    """The repository of ``source``, with ``commit`` in it.

    :raises NotVouchedError: the source does not have it. :raises UnsignedError: it is not signed as the document asks.
    :raises GitError: it could not be found out.
    """
    document = context.catalog.repositories[source.repository]
    repository = await context.repositories.get(document)
    signed = document.spec.signed_commits
    by_tag = signed is not None and (
        source.tag or source.semver
    )  # the tag may be what is signed: which one, the forge says
    ref = "" if by_tag or not repository.was_at(source.id, commit) else source.ref
    if not ref:
        ref = await _asked(repository, source, commit)
    if signed is not None:
        await repository.require_signed(ref, commit, policy(signed, context.secrets))
    return repository


async def _asked(repository: GitRepository, source: Source, commit: str) -> str:
    """The ref at which the forge has ``commit`` now, as its tip or below it; it is here then."""
    following = Following(repository, source.ref)
    tip = source.ref if is_object_id(source.ref) else await following.tip()
    if tip is not None:
        await repository.fetch(following.ref, tip, paths=[source.path], name=source.id)
        if commit == tip or (not is_object_id(source.ref) and repository.is_ancestor(commit, tip)):
            return following.ref
    raise NotVouchedError(
        f"{source.repository} has no commit {commit[:12]} at {following.ref}: its own next run looks again"
    )
