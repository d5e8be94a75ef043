"""What an event means: an object's sight in the cluster x what the inventory says -> nothing, learn, heal. Pure.

What must hold: drift is content. A status update, a no-op write and our own write are none; a field of ours that was taken,
a person's field that was added, our label or hash gone, the object gone: each is one. Our own write's event may come before
the apply's answer and its record, or after: a hash that isn't the inventory's, and that our entry owns, is ours.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from hashlib import blake2b

from workers.kube.watch import Seen
from workers.plan import Entry

Sight = bytes
"""17 bytes: a digest of the hash, one of the fields that we own, and flags. Equal sights are equal as far as drift goes."""

MARKED, HUMAN = 1, 2


class Verdict(enum.Enum):
    """What is to be done about an object."""

    EQUAL = enum.auto()
    FOREIGN = enum.auto()  # not in the inventory: not ours, or not any more
    OURS = enum.auto()  # another hash, of our own: its record is to come, or its event
    DRIFTED = enum.auto()
    GONE = enum.auto()


class Notice(enum.Enum):
    """How soon an event is worth a look at the inventory."""

    NOTHING = enum.auto()
    LATER = enum.auto()  # our own write: when its run is over
    NOW = enum.auto()


def sight(seen: Seen, application: str, applyset_id: str, is_human: Callable[[str], bool]) -> Sight:
    """What of ``seen`` matters for ``application``."""
    share = next((share for share in seen.shares if share.application == application), None)
    marked = share is not None and share.marked and seen.part_of == applyset_id
    flags = (MARKED if marked else 0) | (HUMAN if any(map(is_human, seen.managers)) else 0)
    return equal_sight(seen.hash, share.fields if share else "", flags)


def equal_sight(digest: str, fields: str, flags: int = MARKED) -> Sight:
    """The sight of an object that is as it was applied."""
    return _short(digest) + _short(fields) + bytes((flags,))


def _short(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=8).digest()


def notice(before: Sight | None, now: Sight | None) -> Notice:
    """How an event changed the sight of an object (None: it isn't there)."""
    if before == now:
        return Notice.NOTHING
    if now is None or not now[16] & MARKED or now[16] & HUMAN:
        return Notice.NOW
    return Notice.LATER if before is None or before[:8] != now[:8] else Notice.NOW


def judge(now: Sight | None, entry: Entry | None) -> Verdict:
    """What an object's sight means beside the inventory's entry of it."""
    if entry is None:
        return Verdict.FOREIGN
    if now is None:
        return Verdict.GONE
    marked, human = now[16] & MARKED, now[16] & HUMAN
    if not marked:
        return Verdict.DRIFTED
    if now[:8] != _short(entry.hash):
        return Verdict.OURS
    if human or (entry.fields and now[8:16] != _short(entry.fields)):
        return Verdict.DRIFTED
    return Verdict.EQUAL
