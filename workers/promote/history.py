"""What stands on a promotion's branch: whose commits, and whether they go together with the target's. In threads: it may be much.

A commit is ours if it says so and we are its author and committer: whoever amends, rebases or adds makes it theirs, and theirs
are never thrown away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pygit2

from workers.aiogit.errors import GitError, LimitExceededError
from workers.promote.identity import Identity

MOST_COMMITS = 2000
PROMOTION, IMAGE = "Windlass-Promotion", "Windlass-Image"
"""The trailers by which a commit says whose it is, and which image it brings."""
_SHOWN = 80


class Step(NamedTuple):
    """A commit of the branch. ``image``: what it brings, if it is ours, else ""."""

    id: str
    ours: bool
    image: str
    shown: str  # for people: id, author, subject


class Merged(NamedTuple):
    """The tree of both sides; or, with ``tree`` empty, the files about which they differ."""

    tree: bytes
    conflicts: tuple[str, ...] = ()


def trailers(message: str, promotion: str, image: str) -> str:
    """The message that says that the commit is ours, in the form of git-interpret-trailers(1)."""
    *_, last = message.rstrip().split("\n\n")
    in_trailers = "\n\n" in message.rstrip() and all(": " in line for line in last.splitlines())
    return message.rstrip() + ("\n" if in_trailers else "\n\n") + f"{PROMOTION}: {promotion}\n{IMAGE}: {image}\n"


async def steps(directory: Path, tip: str, base: str, promotion: str, identity: Identity) -> list[Step]:
    """The commits of ``tip`` that ``base`` has not, the newest first.

    :raises LimitExceededError: too many. :raises GitError: they can't be read.
    """
    return await asyncio.to_thread(_steps, directory, tip, base, promotion, identity)


async def merge(directory: Path, base: bytes, ours: bytes, theirs: bytes) -> Merged:
    """Three trees merged as Git does, files renamed on one side included. Writes the result's objects.

    :raises GitError: they can't be read.
    """
    return await asyncio.to_thread(_merge, directory, base, ours, theirs)


async def common(directory: Path, one: str, other: str) -> str | None:
    """The commit from which both come; None if they have none in common."""
    return await asyncio.to_thread(_common, directory, one, other)


def _steps(directory: Path, tip: str, base: str, promotion: str, identity: Identity) -> list[Step]:
    repository = pygit2.Repository(str(directory))
    try:
        walker = repository.walk(pygit2.Oid(hex=tip), pygit2.enums.SortMode.TOPOLOGICAL)
        walker.hide(pygit2.Oid(hex=base))
        found = []
        for commit in walker:
            found.append(_step(commit, promotion, identity))
            if len(found) > MOST_COMMITS:
                raise LimitExceededError(f"more than {MOST_COMMITS} commits are on the branch and not on its base")
    except pygit2.GitError as error:
        raise GitError(f"the history of {tip} can't be read: {error}") from None
    return found


def _step(commit: Any, promotion: str, identity: Identity) -> Step:
    message = commit.raw_message.decode("utf-8", "replace")
    said = dict(line.split(": ", 1) for line in message.rstrip().rpartition("\n\n")[2].splitlines() if ": " in line)
    people = [(who.raw_name, who.raw_email) for who in (commit.author, commit.committer)]
    known = (identity.name.encode(), identity.email.encode())
    ours = said.get(PROMOTION) == promotion and all(who == known for who in people)
    author = commit.author.raw_name.decode("utf-8", "replace")[:_SHOWN]
    shown = f"{str(commit.id)[:10]} by {author}: {message.partition(chr(10))[0][:_SHOWN]}"
    return Step(str(commit.id), ours, said.get(IMAGE, "") if ours else "", shown)


def _merge(directory: Path, base: bytes, ours: bytes, theirs: bytes) -> Merged:
    repository = pygit2.Repository(str(directory))
    try:
        index = repository.merge_trees(pygit2.Oid(base), pygit2.Oid(ours), pygit2.Oid(theirs))
        if index.conflicts is not None:
            return Merged(b"", _paths(index.conflicts))
        return Merged(index.write_tree(repository).raw)
    except (pygit2.GitError, KeyError) as error:
        raise GitError(f"the branches can't be merged: {error}") from None


def _paths(conflicts: Any) -> tuple[str, ...]:
    found: Sequence[Any] = [side for sides in conflicts for side in sides if side is not None]
    return tuple(dict.fromkeys(str(side.path) for side in found))


def _common(directory: Path, one: str, other: str) -> str | None:
    repository = pygit2.Repository(str(directory))
    try:
        found = repository.merge_base(pygit2.Oid(hex=one), pygit2.Oid(hex=other))
    except pygit2.GitError as error:
        raise GitError(f"the history of {one} can't be read: {error}") from None
    return str(found) if found is not None else None
