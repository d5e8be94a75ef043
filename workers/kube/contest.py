"""Who gets a contested object: one rule for each kind of manager. Decides; writes nothing.

- People's and former tools' fields are Git's: their entries become ours, whole.
- What another Windlass application holds is handed over if it let go of it, and otherwise an error that names it.
- Any other manager (a controller) gives way where this application owned the field or object before: that is drift. On
  first contact, and for a field that Git newly names, it is an error that lists the field and its manager, unless
  forced.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from workers.kube import managed_fields
from workers.kube.dress import normalized
from workers.kube.errors import Conflict, ConflictError
from workers.kube.fieldsets import names
from workers.kube.keys import ObjectKey
from workers.kube.managed_fields import HASH, HUMAN, PART_OF, PREFIX

MayTake = Callable[[str, ObjectKey], Awaitable[bool]]
"""May this object be taken from the application of that name?"""


async def nobody_may_take(application: str, key: ObjectKey) -> bool:
    """What applications have, they keep."""
    return False


MARKS = (f".metadata.labels.{PART_OF}", f".metadata.annotations.{HASH}")
"""Fields that Windlass itself adds to every member."""


class Contest(NamedTuple):
    """What was found: the fields in conflict, and the live object's metadata."""

    key: ObjectKey
    conflicts: Sequence[Conflict]
    metadata: dict[str, Any]


class Rules(NamedTuple):
    """Whose objects these are, and what gives way."""

    manager: str
    applyset_id: str
    force: bool
    may_take: MayTake
    patterns: tuple[str, ...] = HUMAN

    def is_human(self, manager: str) -> bool:
        return managed_fields.is_human(manager, self.patterns)


async def decide(contest: Contest, rules: Rules, previous: dict[str, Any] | None) -> frozenset[str]:
    """The applications (as managers) whose entries pass to us, beside those of people. All other conflicts may be
    forced.

    :param previous: the manifest that this application applied before, where it is known.
    :raises ConflictError: somebody keeps a field or the object.
    """
    handed: set[str] = set()
    kept: list[Conflict] = []
    before = normalized(previous) if previous is not None else None
    for conflict in contest.conflicts:
        if conflict.manager == rules.manager or conflict.manager in handed or rules.is_human(conflict.manager):
            continue
        if application := managed_fields.application_of(conflict.manager):
            if not await rules.may_take(application, contest.key):
                raise _held(contest, application)
            handed.add(conflict.manager)
        elif not rules.force and not _owned_before(conflict.field, contest.metadata, rules, before):
            kept.append(conflict)
    if kept:
        raise _contested(kept)
    return frozenset(handed)


def _owned_before(field: str, metadata: dict[str, Any], rules: Rules, previous: dict[str, Any] | None) -> bool:
    """Did this application own ``field``? A field that is taken from us leaves our entry, so only ``previous`` can
    tell."""
    if previous is None or field in MARKS:
        return managed_fields.is_member(metadata, rules.manager, rules.applyset_id)
    entries = metadata.get("managedFields") or ()
    return managed_fields.own_entry(entries, rules.manager) is not None and names(previous, field)


def _held(contest: Contest, application: str) -> ConflictError:
    held = [conflict for conflict in contest.conflicts if conflict.manager == PREFIX + application]
    return ConflictError(held, f"application {application} has this object", application=application, retryable=True)


def _contested(kept: Sequence[Conflict]) -> ConflictError:
    fields = "; ".join(f"{conflict.field} ({conflict.manager})" for conflict in kept)
    return ConflictError(kept, f"other managers own fields that Git names: {fields}; `force: true` takes them")
