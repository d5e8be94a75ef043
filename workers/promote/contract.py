"""What the story of a promotion asks of Git: the edit, the commit and the push, as one step that may be repeated."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from windlass.documents.promotions import PromotionView
from windlass.queue.promotions import Image

Outcome = Literal["created", "rebuilt", "unchanged", "conflict"]


class Proposal(NamedTuple):
    """Where the manifest repository stands now.

    ``commit`` is the tip of ``branch``, which names the image; equal to ``base``, the tip of the target's branch, if that names
    it already. ``conflict``: what reviewers pushed to ``branch`` can't be kept; nothing was pushed, and ``edits`` says what it
    is that conflicts. ``alone``: ``commit`` differs from the target by the image alone, whoever made it.
    """

    branch: str
    commit: str
    base: str
    edits: tuple[str, ...]  # a line each: file, and what was there and is there now
    outcome: Outcome
    previous: str = ""  # the tag that was replaced, where there was one
    files: tuple[str, ...] = ()  # the paths of what is edited
    alone: bool = False


class Propose(Protocol):
    """Make ``branch`` name the image. The same call again changes nothing."""

    async def __call__(self, view: PromotionView, image: Image, *, branch: str, message: str, keep: bool) -> Proposal:
        """``keep``: a pull request is open, so what reviewers pushed to ``branch`` stays; else it begins at the target anew.

        :raises PermanentError: there is nothing to edit (it says where it looked), or the branch is protected.
        :raises TransientError: worth trying again.
        """
