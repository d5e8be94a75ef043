"""What of the custom resources is handed on: all of them, each namespace's within its share. Pure.

What must hold: who fills a namespace with resources keeps nobody else's from being followed. The oldest go first, so that what is
followed stays; and those that are being deleted, so that a deletion makes room.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from windlass.documents.resources import SHARE, Resource
from workers.resources.collection import Known


def within(known: Iterable[Known], own_namespace: str) -> list[Resource]:
    """The resources in the order of their names; of those beyond their namespace's share little more than these."""
    return sorted(_within(known, own_namespace), key=lambda one: one.label)


def _within(known: Iterable[Known], own_namespace: str) -> Iterator[Resource]:
    left: defaultdict[str, int] = defaultdict(lambda: SHARE)
    for one in sorted(known, key=lambda one: (not one.resource.deleting, one.resource.created, one.resource.label)):
        namespace = one.resource.namespace
        if namespace == own_namespace:
            yield one.resource
        elif one.size <= left[namespace]:
            left[namespace] -= one.size
            yield one.resource
        else:
            left[namespace] = 0
            yield msgspec.structs.replace(one.resource, spec={}, over=True)
