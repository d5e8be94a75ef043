"""One look at an image's tags: what is new to the promotions that follow it, and what is remembered until the next look.

What must hold: where nothing changed, nothing more is asked than the list and what the tags in use name now, and nothing is
said; what is said twice (the memory can be lost) does no harm, since a promotion takes the newest of all it hears.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

import msgspec
import structlog

from windlass.documents.promotions import PromotionView
from windlass.errors import PermanentError
from windlass.events import ImagePublished
from windlass.queue.promotions import Image, Noted
from windlass.tag_policy import Candidate, Policy
from workers.concurrency import together
from workers.registry.api import Made, Tags

log = structlog.get_logger(__name__)

AT_ONCE, BATCH = 4, 200
"""Images that are looked at together, and after how many what was found is kept."""
MOVING = 20
"""Of an image with more tags that count, only the one in use is looked at for being pushed again."""
_ATTACHED = re.compile(r"sha(256|512)-[0-9a-f]{64,128}(\..*)?\Z")
"""Tags of signatures, attestations and referrers (cosign; distribution-spec, "Referrers Tag Schema")."""


class Known(msgspec.Struct, frozen=True, array_like=True):
    """What a tag named, and when that was made (seconds since the epoch; 0: it doesn't say; None: nobody asked)."""

    digest: str
    at: float | None = None


class Memory(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the last look found. ``documents``: of which versions of the promotions."""

    documents: str = ""
    etag: str = ""
    tags: str = ""  # the list's hash
    known: dict[str, Known] = {}
    watched: tuple[str, ...] = ()
    noted: dict[str, str] = {}  # by promotion, the identity of the image that it was told of last


class Follows(NamedTuple):
    """A promotion of the image, and its policy."""

    view: PromotionView
    policy: Policy

    @property
    def by_age(self) -> bool:
        """Is it the age that orders tags? Of ``any`` too: a list has no order in which its tags came."""
        return self.view.promotion.spec.policy.order in ("newest", "any")


class Api(Protocol):
    """What is needed of `workers.registry.api.RegistryApi`."""

    async def tags(self, name: str, etag: str = "") -> Tags | None: ...
    async def digest(self, name: str, tag: str) -> str | None: ...
    async def made(self, name: str, reference: str) -> Made: ...


Keep = Callable[[Memory], Awaitable[None]]


class Looked(NamedTuple):
    """What a look found: what to say, and then what to remember; ``memory`` is the one before where nothing changed."""

    noted: list[Noted]
    memory: Memory


async def look(api: Api, image: str, follows: Sequence[Follows], memory: Memory, keep: Keep) -> Looked:
    """Look once. ``image``: with its registry; ``keep`` is called while much is new, so that no work is done twice.

    :raises WindlassError: as `Access` does.
    """
    name, documents = image.partition("/")[2], " ".join(sorted(one.view.digest for one in follows))
    same = memory.documents == documents
    listed = await api.tags(name, memory.etag if same else "")
    now = {tag: await api.digest(name, tag) for tag in memory.watched}
    moved = {tag for tag, digest in now.items() if tag not in memory.known or digest != memory.known[tag].digest}
    if same and not moved and (listed is None or _hash(listed.names) == memory.tags):
        return Looked([], memory)
    listed = listed or await api.tags(name) or Tags((), "")
    names = [tag for tag in listed.names if not _ATTACHED.match(tag)]
    counted = {one.view.id: [tag for tag in names if one.policy.accepts(tag)] for one in follows}
    wanted = {
        one.view.id: counted[one.view.id] if one.by_age else _newest(one, counted[one.view.id]) for one in follows
    }
    aged = {tag for one in follows if one.by_age for tag in wanted[one.view.id]}
    used = {tag for tags in wanted.values() for tag in tags}
    known = {tag: memory.known[tag] for tag in used & memory.known.keys() if tag not in moved}
    missing = sorted(tag for tag in used if tag not in known or (tag in aged and known[tag].at is None))
    for start in range(0, len(missing), BATCH):
        if start:
            await keep(msgspec.structs.replace(memory, documents="", known=known))
        batch = missing[start : start + BATCH]
        known |= await _found(api, name, batch, aged)
    noted, told, watched = [], {}, set[str]()
    for one in follows:
        candidates = [
            Candidate(tag, known[tag].digest, known[tag].at or 0.0) for tag in wanted[one.view.id] if tag in known
        ]
        best = one.policy.newest(sorted(candidates, key=lambda candidate: candidate.created))
        if best is None:
            continue
        watched |= {best.tag} | (set(wanted[one.view.id]) if len(candidates) <= MOVING else set())
        told[one.view.id] = Image(best.tag, best.digest).identity
        if told[one.view.id] != memory.noted.get(one.view.id):
            noted.append(await _noted(api, name, image, one, best))
    return Looked(noted, Memory(documents, listed.etag, _hash(listed.names), known, tuple(sorted(watched)), told))


def _newest(one: Follows, tags: Iterable[str]) -> list[str]:
    best = one.policy.newest(Candidate(tag) for tag in tags)
    return [best.tag] if best else []


async def _found(api: Api, name: str, tags: Sequence[str], aged: set[str]) -> dict[str, Known]:
    """What these tags name, and of the ``aged`` when it was made. A tag that went meanwhile is left out."""
    found: dict[str, Known] = {}
    left = iter(tags)

    async def work() -> None:
        for tag in left:
            digest = await api.digest(name, tag)
            if digest is not None:
                found[tag] = Known(digest, (await api.made(name, digest or tag)).at if tag in aged else None)

    await together(min(AT_ONCE, len(tags)), work)
    return found


async def _noted(api: Api, name: str, image: str, one: Follows, best: Candidate) -> Noted:
    """The event; what the image says of its source goes with it where that can be read."""
    try:
        made = await api.made(name, best.digest or best.tag)
    except PermanentError as error:
        log.warning("registry.source_unknown", image=image, tag=best.tag, error=str(error))
        made = Made(0.0, "", "")
    at = best.created if one.by_age else 0.0  # by name it counts since when it is there
    published = ImagePublished(image, best.tag, best.digest, made.commit, made.repository, at)
    log.info("registry.found", image=image, tag=best.tag, digest=best.digest, promotion=one.view.promotion.name)
    return Noted(one.view.promotion.name, one.view.digest, published)


def _hash(tags: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(tags).encode()).hexdigest()
