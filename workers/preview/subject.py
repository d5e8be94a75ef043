"""What a pull request is about: the commit that merging it would make, beside the one that its base is at.

What must hold: everything is fetched through the base repository, by its own credentials; what the pull request holds is data.
"""

from __future__ import annotations

from typing import NamedTuple

from windlass.documents.types import Repository
from windlass.errors import PermanentError
from windlass.forges.pulls import PullRequest
from workers.aiogit import GitRepository
from workers.aiogit.locks import store_lock
from workers.promote import history
from workers.promote.commit import Draft, commit, time_of, tree_of
from workers.promote.identity import Identity

_REFS = {
    "github": "refs/pull/{}/head",
    "gitea": "refs/pull/{}/head",
    "forgejo": "refs/pull/{}/head",
    "gitlab": "refs/merge-requests/{}/head",
    "bitbucket-server": "refs/pull-requests/{}/from",
}
"""Where a forge keeps the heads of pull requests, those of forks too. Others have only the branches of their own."""
_NOBODY = Identity("Windlass", "windlass@localhost")


class Subject(NamedTuple):
    """``merged`` is the commit to compare; with ``conflicts`` it is the pull request's own head."""

    base: str
    head: str
    merged: str
    conflicts: tuple[str, ...] = ()


async def subject(repository: GitRepository, document: Repository, pull: PullRequest, pin: str) -> Subject:
    """Fetch both sides, and merge them as Git would.

    :raises PermanentError: this forge doesn't hand out the head of a fork. :raises GitError: they can't be read.
    """
    base_ref, head_ref = f"refs/heads/{pull.base}", _head_ref(document, pull)
    base = (await repository.refs(base_ref)).get(base_ref)
    if base is None:
        raise PermanentError(f"there is no branch {pull.base}")
    await repository.fetch(base_ref, base, name=f"{pin}-base")
    await repository.fetch(head_ref, pull.commit, name=f"{pin}-head")
    async with store_lock(repository.directory, exclusive=False):  # no gc while our commit has no ref
        return await _merge(repository, base, pull.commit)


async def _merge(repository: GitRepository, base: str, head: str) -> Subject:
    if repository.is_ancestor(base, head):
        return Subject(base, head, head)
    before = await history.common(repository.directory, base, head)
    store = repository.store
    trees = [tree_of(store, one) for one in (before or base, base, head)]
    merged = await history.merge(repository.directory, *trees)
    if merged.conflicts:
        return Subject(base, head, head, merged.conflicts)
    draft = Draft("what merging would make", _NOBODY, time_of(store, head))
    return Subject(base, head, await commit(store, merged.tree, {}, (base, head), draft))


def _head_ref(document: Repository, pull: PullRequest) -> str:
    pattern = _REFS.get(document.spec.forge)
    if pattern is not None:
        return pattern.format(pull.number)
    if pull.fork:
        raise PermanentError(
            "the head is in another repository, which this forge does not hand out: nothing is planned"
        )
    return f"refs/heads/{pull.head}"
