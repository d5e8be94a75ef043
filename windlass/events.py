"""What came in from outside, in one form whatever the forge: the vocabulary between `windlass.forges` and the queue."""

from __future__ import annotations

import msgspec

ZERO = "0" * 40
"""The object id by which Git (and every forge's payload) says "no such ref": before a creation, after a deletion."""


class RefUpdate(msgspec.Struct, frozen=True):
    """One ref that moved. ``after`` is ``ZERO`` when the ref was deleted, and "" where the forge names no commit that
    we can believe (an abbreviated id, an annotated tag's own object); ``before`` is "" where the forge doesn't
    say."""

    ref: str  # always full: refs/heads/main, refs/tags/v1
    after: str  # 40 (sha1) or 64 (sha256) hex digits, or ""
    before: str = ""

    @property
    def deleted(self) -> bool:
        return self.after != "" and not self.after.strip("0")


class PushEvent(msgspec.Struct, frozen=True):
    """Refs of one repository moved, by a push or by the merge of a pull request.

    ``repositories`` are all the URLs by which the payload names the repository (clone, SSH, web), as it spells them.
    """

    repositories: tuple[str, ...]
    updates: tuple[RefUpdate, ...]
    delivery: str = ""
    kind: str = "push"  # push | merge


class PullRequestEvent(msgspec.Struct, frozen=True):
    """A pull request of ``repositories`` (see `PushEvent`) was closed, merged or not, or (``open``) has something to look at.

    It tells whom to wake, and decides nothing: what became of the pull request is asked of the forge's API. ``head`` and
    ``base`` are branches by their short names, "" where the payload doesn't say; ``updates`` is what the merge moved.
    """

    repositories: tuple[str, ...]
    updates: tuple[RefUpdate, ...]
    number: int
    head: str
    base: str
    delivery: str = ""
    kind: str = "merge"  # merge | close | open


class Ignored(msgspec.Struct, frozen=True):
    """A verified event that needs no work (a ping, a comment, an opened pull request), and why, for the 200's
    answer."""

    reason: str
    delivery: str = ""


class ImagePublished(msgspec.Struct, frozen=True):
    """An image that a registry (or CI) has now. ``at`` is in seconds since the epoch, 0 where the sender doesn't say."""

    image: str  # as `windlass.registries.names.image_name` spells it: with its registry, without tag and digest
    tag: str
    digest: str = ""
    commit: str = ""  # of the source that it was built from
    repository: str = ""  # that source's URL
    at: float = 0.0


class ImagesPublished(msgspec.Struct, frozen=True):
    """The images of one delivery, at least one."""

    images: tuple[ImagePublished, ...]
    delivery: str = ""


Event = PushEvent | PullRequestEvent | Ignored
