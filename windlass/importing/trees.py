"""What an import may know of a Git repository's content: nothing, or the files of a checkout (`checkouts` has them). Pure.

What must hold: the import gives the same documents with a tree as without one, but for what it could only assume.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol

import msgspec

from windlass.documents.types import Source
from windlass.semver import Range, RangeError

_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_TAG = re.compile(r"v?\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?\Z")
_RANGE = re.compile(r"[*^~<>=]|\A[vV]?\d+(\.\d+)?\.[xX]\Z| - ")


class Tree(Protocol):
    """A commit's files."""

    @property
    def branch(self) -> str | None:
        """The branch that is checked out; None: a tag or a commit is."""

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of all files, sorted."""

    def read(self, path: str) -> bytes:
        """The content of one of `files`."""


class Trees(Protocol):
    """The repositories of which there is a checkout."""

    def tree(self, url: str, revision: str) -> Tree | None:
        """The files at ``revision`` ("" or HEAD: the default branch's); None: they can't be had."""


class NoTrees:
    """Where nothing is known."""

    def tree(self, url: str, revision: str) -> Tree | None:
        return None


class Ref(NamedTuple):
    """What of a repository is followed: one of branch, tag, commit and semver, as in a Source."""

    field: str
    value: str
    assumed: str = ""  # why it may be another

    def of(self, repository: str) -> Source:
        """The root of ``repository``, as a source at this ref."""
        return msgspec.structs.replace(Source(repository), **{self.field: self.value})


def ref_of(revision: str, tree: Tree | None) -> Ref:
    """What Argo CD's ``targetRevision`` names: HEAD, a branch, a tag, a commit or a range of versions."""
    if revision in ("", "HEAD"):
        if tree is not None and tree.branch is not None:
            return Ref("branch", tree.branch)
        return Ref("branch", "main", "HEAD is the default branch, which is taken to be main")
    for prefix, field in (("refs/heads/", "branch"), ("refs/tags/", "tag")):
        if revision.startswith(prefix):
            return Ref(field, revision.removeprefix(prefix))
    if _COMMIT.match(revision):
        return Ref("commit", revision)
    if _RANGE.search(revision) and _is_range(revision):
        return Ref("semver", revision)
    if tree is not None:
        return Ref("branch" if tree.branch == revision else "tag", revision)
    if _TAG.match(revision):
        return Ref("tag", revision)
    return Ref("branch", revision)


def _is_range(text: str) -> bool:
    try:
        Range(text)
    except RangeError:
        return False
    return True


def below(folder: str, path: str) -> str:
    return f"{folder}/{path}" if folder else path


def folder_of(path: str) -> str:
    """A folder as Windlass writes it: without ./ and slashes around it. What leads up stays, and is refused later."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return "/".join(parts)
