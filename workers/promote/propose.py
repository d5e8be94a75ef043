"""The step from an image to a branch that names it: look, edit, commit, push; again from the start if somebody was faster.

What must hold: no commit of somebody else is ever lost: what reviewers pushed stays below ours, a branch that begins anew leaves
theirs on one of its own, and a branch on which nothing is ours isn't touched. The same step again changes nothing. A
branch moves from exactly the commit that was looked at.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from windlass.documents.editing import Edit
from windlass.errors import TransientError
from windlass.images import parse_image, valid_tag
from workers.aiogit import GitRepository
from workers.aiogit.errors import LimitExceededError, RefNotFoundError
from workers.aiogit.locks import store_lock
from workers.aiogit.proof import commit_parents, commit_tree
from workers.promote.commit import Draft, commit, edited_tree, time_of, tree_of
from workers.promote.contract import Outcome, Proposal
from workers.promote.edit import NothingToEditError, Splice, Wanted, applied, edited
from workers.promote.edit.editing import is_candidate
from workers.promote.edit.model import by_path
from workers.promote.history import Step, common, merge, steps, trailers
from workers.promote.identity import Identity, Signer
from workers.promote.push import RaceError, push
from workers.slices import SLICE_SECONDS

log = structlog.get_logger(__name__)

EVERYWHERE = Edit()
ATTEMPTS = 8
"""Looks at the branch, before somebody who pushes all the time wins."""
PAUSE_SECONDS = 0.25
"""Before the next look: up to so much, times the looks so far."""
FILES_BYTES = 64 << 20
"""Of the files that are looked at."""


@dataclass(frozen=True)
class Target:
    """The branch to make, from which it comes and goes to (the same: no pull request), and the folder to edit.

    ``keep``: what others pushed to the branch belongs to the proposal; otherwise it begins at the base anew.
    """

    base: str
    branch: str
    path: str = ""
    keep: bool = False


@dataclass(frozen=True)
class Change:
    """What to write, and what to say of it.

    ``at``: the event's time, seconds since the epoch, which the commit bears; 0 if that is not known: the base's then.
    """

    promotion: str
    wanted: Wanted
    message: str
    at: float
    identity: Identity
    edit: Edit = EVERYWHERE
    signer: Signer | None = None

    @property
    def image(self) -> str:
        return f"{self.wanted.tag}@{self.wanted.digest}"


async def propose(repository: GitRepository, target: Target, change: Change) -> Proposal:
    """Make ``target.branch`` of the remote name the image. Safe to repeat, and to run twice at once.

    :raises NothingToEditError: nothing names the image; it says where it looked. :raises EditError: it can't be written exactly.
    :raises RefNotFoundError: there is no base branch. :raises PathError: it has no such folder.
    :raises RefusedPushError: the server refuses: a protected branch, a hook. :raises SigningError: the key can't sign.
    :raises GitError: and its kinds; another time. :raises TransientError: others push faster than we do.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await _Look(repository, target, change).proposal()
        except RaceError as error:
            log.info("promotion.raced", branch=target.branch, attempt=attempt, error=str(error))
            await asyncio.sleep(random.uniform(0, PAUSE_SECONDS * attempt))  # noqa: S311 - to meet nobody twice
    raise TransientError(f"{target.branch} of {repository.address} changed {ATTEMPTS} times while it was looked at")


class _Look:
    """One look at the remote, and what follows from it."""

    def __init__(self, repository: GitRepository, target: Target, change: Change) -> None:
        self._repository, self._target, self._change = repository, target, change
        self._store, self._pin = repository.store, f"promotion-{change.promotion}"
        message = trailers(change.message, change.promotion, change.image)
        self._draft = Draft(message, change.identity, change.at, change.signer)

    async def proposal(self) -> Proposal:
        target = self._target
        base_ref, ref = f"refs/heads/{target.base}", f"refs/heads/{target.branch}"
        refs = await self._repository.refs(base_ref, ref)
        base, tip = refs.get(base_ref), refs.get(ref)
        if base is None:
            raise RefNotFoundError(f"{self._repository.address} has no branch {target.base}")
        await self._repository.fetch(base_ref, base, name=f"{self._pin}-base")
        if tip is not None:
            await self._repository.fetch(ref, tip, name=f"{self._pin}-branch")
        # No fetch from here on: it may need the store for itself.
        if not self._draft.at:
            self._draft = replace(self._draft, at=time_of(self._store, base))
        async with store_lock(self._repository.directory, exclusive=False):  # no gc while our objects have no ref
            splices = await self._edits(base)
            if not splices:
                return Proposal(target.branch, base, base, (), "unchanged")
            if tip is None or target.branch == target.base:
                return await self._anew(base, base if tip else None, splices, "created")
            found = await self._onto(base, tip, splices)
            judged = found.alone or found.outcome == "conflict"
            return found if judged else found._replace(alone=await self._alone(base, found.commit))

    async def _onto(self, base: str, tip: str, splices: Sequence[Splice]) -> Proposal:
        """The branch is there already."""
        directory, change = self._repository.directory, self._change
        there = await steps(directory, tip, base, change.promotion, change.identity)
        theirs = [step for step in there if not step.ours]
        if theirs and self._target.keep:
            return await self._kept(base, tip, there, splices)
        if theirs and not await self._contains(base, tip):
            if len(theirs) == len(there):
                return self._conflict(base, tip, [f"{step.shown} (none of the branch is ours)" for step in theirs])
            await self._set_aside(tip)
        elif there and self._target.keep and await self._stands(base, tip):
            return self._proposed(tip, base, splices, "unchanged")
        return await self._anew(base, tip, splices, "rebuilt")

    # -- a branch that is ours alone ----------------------------------------------------------------------------------

    async def _anew(self, base: str, expected: str | None, splices: Sequence[Splice], outcome: Outcome) -> Proposal:
        """One commit on the base."""
        made = await commit(self._store, tree_of(self._store, base), self._files(base, splices), [base], self._draft)
        if made == expected or (expected is not None and await self._same(base, expected, made)):
            return self._proposed(expected, base, splices, "unchanged")._replace(alone=True)
        return (await self._pushed(made, expected, base, splices, outcome))._replace(alone=True)

    async def _same(self, base: str, tip: str, made: str) -> bool:
        """Is ``tip`` our commit already, but for its signature, which differs from one time to the next?"""
        raw = self._store.commit(bytes.fromhex(tip))
        if commit_parents(raw) != [bytes.fromhex(base)] or commit_tree(raw) != tree_of(self._store, made):
            return False
        there = await self._steps(base, tip)
        return len(there) == 1 and there[0].image == self._change.image

    async def _stands(self, base: str, tip: str) -> bool:
        """Does the branch name the image, and go together with the base?"""
        try:
            return not await self._edits(tip) and await self._merges(base, tip)
        except NothingToEditError:
            return False

    # -- a branch with others' commits --------------------------------------------------------------------------------

    async def _kept(self, base: str, tip: str, there: Sequence[Step], splices: Sequence[Splice]) -> Proposal:
        """Ours on top of theirs; the base is merged in if it moved on."""
        newest = next((step.image for step in there if step.ours), "")
        proposed, merges = newest == self._change.image, await self._merges(base, tip)
        if proposed and merges:
            return self._proposed(tip, base, splices, "unchanged")  # what they made of this very image is their word
        try:
            more = await self._edits(tip)
        except NothingToEditError as error:
            return self._conflict(base, tip, [str(error)])
        if proposed and more:
            return self._conflict(base, tip, [f"{one}, which a reviewer changed" for one in more])
        origin = await common(self._repository.directory, base, tip)
        if origin == base:
            if not more:
                return self._proposed(tip, base, splices, "unchanged")
            made = await commit(self._store, tree_of(self._store, tip), self._files(tip, more), [tip], self._draft)
            return await self._pushed(made, tip, base, splices, "rebuilt")
        if not more and merges:
            return self._proposed(tip, base, splices, "unchanged")
        return await self._with_base(base, tip, origin, splices)

    async def _with_base(self, base: str, tip: str, origin: str | None, splices: Sequence[Splice]) -> Proposal:
        """Theirs, the base, and the image. Each side is merged as if it named the image already: where only the image differs,
        nothing conflicts."""
        if origin is None:
            return self._conflict(base, tip, ["the branch has nothing in common with its base"])
        trees = [await self._edited_tree(one) for one in (origin, tip, base)]
        merged = await merge(self._repository.directory, *trees)
        if not merged.tree:
            return self._conflict(base, tip, merged.conflicts)
        made = await commit(self._store, merged.tree, {}, [tip, base], self._draft)
        if more := await self._edits(made):  # a side without the image took part
            made = await commit(self._store, merged.tree, self._files(made, more), [tip, base], self._draft)
        return await self._pushed(made, tip, base, splices, "rebuilt")

    async def _set_aside(self, tip: str) -> None:
        """The branch begins anew, since its pull request is closed; theirs stay, on a branch of their own."""
        name = f"{self._target.branch}-kept-{tip[:12]}"
        ref = f"refs/heads/{name}"
        if (await self._repository.refs(ref)).get(ref) != tip:
            await push(self._repository, tip, name, expected=None)
        log.warning("promotion.set_aside", branch=self._target.branch, kept=name, commit=tip)

    async def _contains(self, base: str, tip: str) -> bool:
        """Would merging the branch change nothing, as after a merge that squashed it?"""
        origin = await common(self._repository.directory, base, tip)
        if origin is None:
            return False
        own = tree_of(self._store, base)
        trees = [tree_of(self._store, one) for one in (origin, base, tip)]
        return (await merge(self._repository.directory, *trees)).tree == own

    async def _alone(self, base: str, tip: str) -> bool:
        """Does the branch change nothing but the image? Its content says so; authors and messages are anybody's to write."""
        origin = await common(self._repository.directory, base, tip)
        return origin is not None and await self._edited_tree(origin) == tree_of(self._store, tip)

    async def _merges(self, base: str, tip: str) -> bool:
        """Can the forge merge the branch?"""
        origin = await common(self._repository.directory, base, tip)
        if origin is None or origin == base:
            return origin == base
        trees = [tree_of(self._store, one) for one in (origin, tip, base)]
        return bool((await merge(self._repository.directory, *trees)).tree)

    # -- small steps --------------------------------------------------------------------------------------------------

    async def _steps(self, base: str, tip: str) -> list[Step]:
        change = self._change
        return await steps(self._repository.directory, tip, base, change.promotion, change.identity)

    async def _edits(self, at: str) -> list[Splice]:
        """What must change in a commit's files, by their paths in the repository."""
        root = self._target.path.strip("/")
        files, unread = await _read(self._repository, at, root, self._change.edit)
        found = await asyncio.to_thread(edited, files, self._change.wanted, self._change.edit, unread=unread)
        return [splice._replace(path=f"{root}/{splice.path}" if root else splice.path) for splice in found]

    async def _edited_tree(self, at: str) -> bytes:
        try:
            splices = await self._edits(at)
        except NothingToEditError:
            splices = []
        return edited_tree(self._store, tree_of(self._store, at), self._files(at, splices))

    def _files(self, at: str, splices: Sequence[Splice]) -> dict[str, bytes]:
        """The edited files' new content."""
        found = {}
        for path, some in by_path(splices).items():
            blob = self._repository.file_id(at, path)
            assert blob is not None, "it was read just now"
            found[path] = applied(self._repository.blob(blob), some)
        return found

    async def _pushed(
        self, made: str, expected: str | None, base: str, splices: Sequence[Splice], outcome: Outcome
    ) -> Proposal:
        await push(self._repository, made, self._target.branch, expected=expected)
        self._store.pin(f"{self._pin}-branch", made)
        return self._proposed(made, base, splices, outcome)

    def _proposed(self, tip: str, base: str, splices: Sequence[Splice], outcome: Outcome) -> Proposal:
        edits = tuple(str(splice) for splice in splices)
        files = tuple(by_path(splices))
        return Proposal(self._target.branch, tip, base, edits, outcome, _previous(splices), files)

    def _conflict(self, base: str, tip: str, with_what: Sequence[str]) -> Proposal:
        return Proposal(self._target.branch, tip, base, tuple(with_what), "conflict")


async def _read(repository: GitRepository, at: str, root: str, spec: Edit) -> tuple[dict[str, bytes], list[str]]:
    """The files below ``root`` that are looked at, and why others could not be."""
    files: dict[str, bytes] = {}
    unread: list[str] = []
    size, slice_end = 0, time.monotonic() + SLICE_SECONDS
    for found in repository.iter_diff(None, at, root):
        path = found.path.removeprefix(f"{root}/") if root else found.path
        if is_candidate(path, spec):
            if found.new is None:
                unread.append(f"{found.path} {found.refused}")
            else:
                size += _take(repository, found.new, path, files, unread)
        if size > FILES_BYTES:
            raise LimitExceededError(
                f"more than {FILES_BYTES} bytes of YAML in {root or 'the repository'}: name edit.files"
            )
        if time.monotonic() >= slice_end:
            await asyncio.sleep(0)
            slice_end = time.monotonic() + SLICE_SECONDS
    return files, unread


def _take(repository: GitRepository, blob: str, path: str, files: dict[str, bytes], unread: list[str]) -> int:
    try:
        files[path] = repository.blob(blob)
    except LimitExceededError as error:
        unread.append(f"{path}: {error}")
        return 0
    return len(files[path])


def _previous(splices: Sequence[Splice]) -> str:
    """The tag that is replaced; "" where none can be told."""
    for splice in splices:
        reference = parse_image(splice.was)
        if reference is not None and reference.tag:
            return reference.tag
        tag = splice.was.partition("@")[0]
        if valid_tag(tag) and not splice.field.endswith(("newName", "name", "repository")):
            return tag
    return ""
