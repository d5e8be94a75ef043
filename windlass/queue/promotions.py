"""Promotions in the queue: sources of another kind, with images where those have commits. The same scripts, the same promises.

Level-triggered: what was published is noted, one job waits, and it takes the newest by the promotion's policy of all that was
noted until then and of what it knows. ``processed`` of such a source is the image that was decided on last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import msgspec
import structlog

from windlass.documents.promotion import promotion_id
from windlass.events import ImagePublished
from windlass.queue.seal import Seal
from windlass.queue.sources import Hint, Mark, Marked
from windlass.tag_policy import Candidate

log = structlog.get_logger(__name__)

KEPT = 500
"""Images noted and not looked at yet; the policy's newest may be any of them."""


class Noted(NamedTuple):
    """An image that concerns a promotion; ``digest`` is that of the documents by which it does."""

    promotion: str
    digest: str
    image: ImagePublished


class Image(msgspec.Struct, frozen=True, omit_defaults=True):
    """An image as a promotion keeps it: what was published, when (seconds since the epoch), and from which source."""

    tag: str
    digest: str = ""
    at: float = 0.0
    commit: str = ""
    repository: str = ""

    @property
    def identity(self) -> str:
        """What tells whether it is the same image."""
        return f"{self.tag}@{self.digest}"

    @property
    def candidate(self) -> Candidate:
        return Candidate(self.tag, self.digest, self.at)


class Queue(Protocol):
    """What this module needs of `windlass.queue.SourceQueue`."""

    async def mark(self, marks: Sequence[Mark], *, event: str, delivery: str, received_at: float) -> list[Marked]: ...


def seal_of(key: bytes) -> Seal:
    """By which images that were noted are believed; ``key`` is the installation's."""
    return Seal(key, "image")


async def note(
    queue: Queue, noted: Sequence[Noted], *, seal: Seal, event: str, delivery: str, received_at: float
) -> list[Marked]:
    """Remember a delivery and what it published, and queue a job for each promotion that it concerns, in one script."""
    marks = [_mark(one, seal, received_at) for one in noted]
    return await queue.mark(marks, event=event, delivery=delivery, received_at=received_at)


def _mark(noted: Noted, seal: Seal, received_at: float) -> Mark:
    published = noted.image
    image = Image(published.tag, published.digest, published.at or received_at, published.commit, published.repository)
    details = seal.sealed(noted.promotion, msgspec.json.encode(image)).decode()
    return Mark(promotion_id(noted.promotion), image.identity, details, f"image {image.tag}", noted.digest, keep=KEPT)


def images(hints: Iterable[Hint], promotion: str, seal: Seal) -> list[Image]:
    """The images that were noted for ``promotion``, in the order in which they came; a word that isn't ours names none."""
    found = []
    for hint in hints:
        word = seal.opened(promotion, hint.before.encode()) if hint.before else None
        if word is not None:
            found.append(msgspec.json.decode(word, type=Image))
        elif hint.before:
            log.error(
                "image.refused", promotion=promotion, error="not signed by this installation's key (WINDLASS_KEY)"
            )
    return found
