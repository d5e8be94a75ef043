"""Folders of a branch as they were at an earlier commit: one commit on the branch's tip, pushed to a branch of its own.

What must hold: outside of these folders nothing changes; within them nothing is merged, everything is as it was, modes and
deleted files included; a branch to which somebody else pushed is not touched. The same step again changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pygit2

from windlass.errors import PermanentError
from workers.aiogit import GitRepository
from workers.aiogit.diff import segments
from workers.aiogit.errors import GitError, PathError, RefNotFoundError
from workers.aiogit.locks import store_lock
from workers.promote.commit import Draft, commit, time_of
from workers.promote.history import steps, trailers
from workers.promote.identity import Identity, Signer
from workers.promote.push import push
from workers.slices import sliced


@dataclass(frozen=True)
class Restore:
    """What to bring back: ``folders`` ("" is the whole repository) of ``base`` as they were at ``revision``, by ``branch``."""

    base: str
    branch: str
    revision: str
    folders: tuple[str, ...]
    message: str
    identity: Identity
    signer: Signer | None = None


class Restored(NamedTuple):
    """``commit``, the tip of the branch now, on ``base``; ``files``: the paths that change."""

    commit: str
    base: str
    files: tuple[str, ...]


async def look(repository: GitRepository, branch: str, *, name: str = "rollback-base") -> str:
    """The tip of ``branch``, here with its history; pinned as ``name``.

    :raises RefNotFoundError: there is no such branch. :raises GitError: and its kinds.
    """
    ref = f"refs/heads/{branch}"
    tip = (await repository.refs(ref)).get(ref)
    if tip is None:
        raise RefNotFoundError(f"{repository.address} has no branch {branch}")
    await repository.fetch(ref, tip, name=name)
    return tip


async def restore(repository: GitRepository, tip: str, wanted: Restore) -> Restored:
    """Make the branch, from ``tip`` as `look` found it.

    :raises PermanentError: nothing differs, or others pushed to the branch. :raises PathError: the revision has no such folder.
    :raises RaceError: somebody pushed meanwhile. :raises RefusedPushError: the server doesn't take it.
    :raises SigningError: the key can't sign. :raises GitError: and its kinds; another time.
    """
    ref = f"refs/heads/{wanted.branch}"
    there = (await repository.refs(ref)).get(ref)
    if there is not None:
        await repository.fetch(ref, there, name="rollback-branch")
        await _ours(repository, there, tip, wanted)
    async with store_lock(repository.directory, exclusive=False):  # no gc while our objects have no ref
        tree = await asyncio.to_thread(_tree, repository.directory, tip, wanted)
        message = trailers(wanted.message, wanted.branch, wanted.revision)
        draft = Draft(message, wanted.identity, time_of(repository.store, tip), wanted.signer)
        made = await commit(repository.store, tree, {}, [tip], draft)
        files = tuple(sorted([change.path async for change in sliced(repository.iter_diff(tip, made, ""))]))
        if not files:
            raise PermanentError(f"{wanted.base} of {repository.address} is as it was at {wanted.revision[:10]}")
        if made != there:
            await push(repository, made, wanted.branch, expected=there)
            repository.store.pin("rollback-branch", made)
    return Restored(made, tip, files)


async def _ours(repository: GitRepository, there: str, tip: str, wanted: Restore) -> None:
    found = await steps(repository.directory, there, tip, wanted.branch, wanted.identity)
    theirs = [step.shown for step in found if not step.ours]
    if theirs:
        raise PermanentError(f"others pushed to {wanted.branch} ({theirs[0]}): merge it, or delete it")


def _tree(directory: Path, tip: str, wanted: Restore) -> bytes:
    repository = pygit2.Repository(str(directory))
    try:
        root = repository[pygit2.Oid(hex=tip)].peel(pygit2.Tree)
        before = repository[pygit2.Oid(hex=wanted.revision)].peel(pygit2.Tree)
        for folder in wanted.folders:
            parts = segments(folder)
            root = _put(repository, root, parts, _folder(before, parts, folder, wanted.revision))
        return bytes(root.id.raw)
    except (pygit2.GitError, KeyError, ValueError) as error:
        raise GitError(f"{wanted.revision[:10]} can't be read: {error}") from None


def _folder(tree: pygit2.Tree, parts: Sequence[str], folder: str, revision: str) -> pygit2.Tree:
    for part in parts:
        found = tree / part if part in tree else None
        if not isinstance(found, pygit2.Tree):
            raise PathError(f"{revision[:10]} has no folder {folder}")
        tree = found
    return tree


def _put(
    repository: pygit2.Repository, tree: pygit2.Tree | None, parts: Sequence[str], folder: pygit2.Tree
) -> pygit2.Tree:
    """``tree`` with this folder at ``parts``."""
    if not parts:
        return folder
    builder = repository.TreeBuilder(tree) if tree is not None else repository.TreeBuilder()
    inner = tree / parts[0] if tree is not None and parts[0] in tree else None
    made = _put(repository, inner if isinstance(inner, pygit2.Tree) else None, parts[1:], folder)
    builder.insert(parts[0], made.id, pygit2.enums.FileMode.TREE)
    found = repository[builder.write()]
    assert isinstance(found, pygit2.Tree)
    return found
