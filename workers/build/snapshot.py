"""A commit's files in a folder, as a builder wants them: exactly what Git has, nothing of the work tree, and the commit's time.

What must hold: nothing is written outside of the folder, whatever a tree names its entries or points its links at.
"""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

import pygit2

from windlass.errors import PermanentError

SUBMODULE = 0o160000


class Snapshot(NamedTuple):
    """``time``: the commit's, in seconds since the epoch. ``tags``: those of Git that name it."""

    commit: str
    time: int
    tags: tuple[str, ...]


def write(repository: pygit2.Repository, revision: str, folder: Path) -> Snapshot:
    """Write the files of ``revision`` below ``folder``, which must be empty.

    :raises PermanentError: there is no such commit, it has submodules, or a link leaves the tree.
    """
    commit = _commit(repository, revision)
    for entry in _entries(repository, commit):
        if entry.mode == SUBMODULE:
            raise PermanentError(f"{entry.path} is a submodule: what it names is in another repository, and not built")
    with tempfile.TemporaryFile() as spool:
        with tarfile.open(fileobj=spool, mode="w") as archive:
            repository.write_archive(commit.tree, archive, commit.commit_time)
        spool.seek(0)
        with tarfile.open(fileobj=spool) as archive:
            try:
                archive.extractall(folder, filter="data")
            except tarfile.FilterError as error:
                raise PermanentError(f"the commit can't be written to a folder: {error}") from None
    return Snapshot(str(commit.id), commit.commit_time, tuple(sorted(_tags(repository, commit))))


def local(path: Path) -> pygit2.Repository:
    """The Git repository that ``path`` lies in.

    :raises PermanentError: there is none.
    """
    found = pygit2.discover_repository(str(path))
    if found is None:
        raise PermanentError(f"{path}: not in a Git repository")
    return pygit2.Repository(found)


def origin(repository: pygit2.Repository) -> str:
    """The URL that it was cloned from, without user name and password; "" where it has none."""
    try:
        parts = urlsplit(repository.remotes["origin"].url or "")
    except KeyError:
        return ""
    return (
        urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if parts.scheme in ("http", "https") else ""
    )


def _commit(repository: pygit2.Repository, revision: str) -> pygit2.Commit:
    try:
        commit = repository.revparse_single(revision).peel(pygit2.Commit)
    except (KeyError, ValueError, pygit2.GitError):
        raise PermanentError(f"{revision}: no commit of {repository.path}") from None
    assert isinstance(commit, pygit2.Commit)
    return commit


def _entries(repository: pygit2.Repository, commit: pygit2.Commit) -> list[pygit2.IndexEntry]:
    index = pygit2.Index()
    index.read_tree(commit.tree)
    return list(index)


def _tags(repository: pygit2.Repository, commit: pygit2.Commit) -> list[str]:
    found = []
    for name in repository.references:
        if name.startswith("refs/tags/"):
            reference = repository.references[name]
            if reference.peel().id == commit.id:
                found.append(name.removeprefix("refs/tags/"))
    return found
