"""What may go at once, what stays, and what waits for a person, of the objects that a commit no longer names. Pure.

What must hold: nothing precious goes unasked, an object's own word is kept, and one commit never takes more of an
application than its limit allows. A guard that is in the way every day is turned off, so the default lets a few objects go.

An empty render is no business of a limit: it never deletes anything (`workers.application`), so that `pruneLimit: 100%`
doesn't mean that a mistake may take everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from windlass.documents.ordering import PruneLimit
from workers.directives import OWN_PRUNE, Directives, Say
from workers.kube.keys import PRECIOUS, ObjectKey
from workers.plan import Leaving

SHOWN = 5
"""Objects that a message names."""


class Kept(NamedTuple):
    """An object that stays in the cluster, and why."""

    leaving: Leaving
    reason: str


class Guarded(NamedTuple):
    """What happens to the objects that leave: each is in one of these. ``approval`` tells a person what ``held`` waits for.

    While something is held, the prune isn't complete: the application's recorded kinds are not narrowed.
    """

    go: tuple[Leaving, ...]
    kept: tuple[Kept, ...]
    held: tuple[Leaving, ...]
    approval: str


def kept_because(key: ObjectKey, wishes: Directives, *, with_application: bool = False) -> str:
    """Why an object is not deleted when it leaves Git (or goes with its whole application); "": it may be.

    ``wishes`` are those of the object as it is in the cluster, for Git has none any more.
    """
    said = wishes.delete if with_application else wishes.prune
    if said is Say.NO:
        return "it asks to be kept"
    if key.group_kind in PRECIOUS and said is Say.NOTHING:
        if with_application and wishes.prune in (Say.YES, Say.CONFIRM):
            return ""  # asked for in general, so all the more with the whole application
        return f'it is a {key.kind}, and goes only if it is annotated {OWN_PRUNE}: "true"'
    return ""


def guard(
    leaving: Iterable[tuple[Leaving, Directives]], owned: int, limit: PruneLimit, *, approved: bool = False
) -> Guarded:
    """Which of the objects that leave may go.

    :param owned: how many objects the application had before this commit, those that leave among them.
    :param approved: a person has said yes to this revision's prune. It lifts the limit and `Prune=confirm`, nothing else.
    """
    go: list[Leaving] = []
    kept: list[Kept] = []
    asking: list[Leaving] = []
    for item, wishes in leaving:
        if reason := kept_because(item.key, wishes):
            kept.append(Kept(item, reason))
        elif wishes.prune is Say.CONFIRM and not approved:
            asking.append(item)
        else:
            go.append(item)
    count, allowed = len(go) + len(asking), limit.allowed(owned)
    if count > allowed and not approved:
        return Guarded((), tuple(kept), (*go, *asking), _too_many((*go, *asking), owned, allowed, limit))
    return Guarded(tuple(go), tuple(kept), tuple(asking), _to_confirm(asking))


def _too_many(held: Sequence[Leaving], owned: int, allowed: int, limit: PruneLimit) -> str:
    share = f"{limit} of {owned}" if limit.share is not None else "spec.sync.pruneLimit"
    return (
        f"nothing is pruned: {len(held)} of {owned} objects would go, and {share} allows {allowed}: {_names(held)}. "
        "If that is meant, approve it, or raise spec.sync.pruneLimit; else name them in Git again"
    )


def _to_confirm(asking: Sequence[Leaving]) -> str:
    return f"to be approved before they are pruned (Prune=confirm): {_names(asking)}" if asking else ""


def _names(leaving: Sequence[Leaving]) -> str:
    more = f" and {len(leaving) - SHOWN} more" if len(leaving) > SHOWN else ""
    return ", ".join(str(item.key) for item in leaving[:SHOWN]) + more
