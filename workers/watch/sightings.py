"""What the cluster showed last of one application's objects, in some tens of bytes each, and how events change it. Pure.

What must hold: a list begun anew replaces what was known of its place only when it is whole; and an event that happened
before our last write of its object is old news, whenever it arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from hashlib import blake2b
from typing import NamedTuple

from workers.kube.keys import ObjectKey
from workers.kube.watch import Seen
from workers.watch.drift import Notice, Sight, equal_sight, notice, sight


class Place(NamedTuple):
    """What one watch sees: a group kind, in one namespace or ("") wherever its objects are."""

    group_kind: str
    namespace: str = ""

    @classmethod
    def parse(cls, text: str) -> Place:
        """Of ``ConfigMap/shop``, ``Deployment.apps/shop``, ``Namespace``."""
        group_kind, _, namespace = text.partition("/")
        return cls(group_kind, namespace)

    @classmethod
    def of(cls, key: str) -> Place:
        """Where the object of this key (as text) is."""
        parts = key.split("/")
        return cls(parts[0], parts[1] if len(parts) == 3 else "")


class Unseen(Exception):  # noqa: N818 - not an error: nobody can say
    """Nobody watches the object's place, or its list is not whole yet."""


class Sightings:
    """The objects of one application."""

    def __init__(self, application: str, applyset_id: str, is_human: Callable[[str], bool]) -> None:
        self.application, self.applyset_id = application, applyset_id
        self._is_human = is_human
        self._known: dict[Place, dict[int, Sight]] = {}  # by a digest of the key
        self._listing: dict[Place, dict[int, Sight]] = {}
        self._written: dict[int, int] = {}  # the resourceVersion of our last write, until its event

    def begin(self, place: Place) -> None:
        """A list of ``place`` begins."""
        self._listing[place] = {}

    def synced(self, place: Place) -> None:
        """The list of ``place`` is whole: what it didn't name isn't there."""
        self._known[place] = self._listing.pop(place, {})

    def forget(self, place: Place) -> None:
        """Nobody watches ``place`` any more."""
        self._listing.pop(place, None)
        self._known.pop(place, None)

    def saw(self, place: Place, seen: Seen) -> Notice:
        """An event of an object that is, or was, this application's."""
        number = _number(str(seen.key))
        if self._is_old(number, seen.resource_version):
            return Notice.NOTHING
        now = None if seen.gone else sight(seen, self.application, self.applyset_id, self._is_human)
        listing = self._listing.get(place)
        objects = listing if listing is not None else self._known.setdefault(place, {})
        before = objects.pop(number, None) if now is None else objects.get(number)
        if now is not None and now != before:
            objects[number] = now
        return Notice.NOTHING if listing is not None else notice(before, now)

    def _is_old(self, number: int, version: str) -> bool:
        """Was this before our own write? Versions of one resource can be compared (KEP-5504); where not, it is new."""
        written = self._written.get(number)
        if written is None:
            return False
        if version.isdigit() and int(version) < written:
            return True
        del self._written[number]
        return False

    def wrote(self, key: ObjectKey, digest: str, fields: str, version: str) -> None:
        """We made the object equal: so it is, until an event that is newer than ``version``."""
        place, number = self._place(str(key)), _number(str(key))
        if version.isdigit():
            self._written[number] = int(version)
        for objects in (self._listing.get(place), self._known.get(place)):
            if objects is not None:
                objects[number] = equal_sight(digest, fields)

    def is_there(self, key: ObjectKey) -> None:
        """The object left the watch and is there still: it is as unmarked as it can be."""
        known = self._known.get(self._place(str(key)))
        if known is not None:
            known[_number(str(key))] = equal_sight("", "", 0)

    def look(self, key: str) -> Sight | None:
        """What was seen last of the object; None: it isn't there.

        :raises Unseen: there is no telling.
        """
        place = self._place(key)
        if place not in self._known or place in self._listing:
            raise Unseen
        return self._known[place].get(_number(key))

    def knows(self, place: Place) -> bool:
        """Is this place watched, by itself or with all others of its kind, and its list whole?"""
        place = place if place in self._known else Place(place.group_kind)
        return place in self._known and place not in self._listing

    def covers(self, places: Collection[Place]) -> bool:
        return all(map(self.knows, places))

    def _place(self, key: str) -> Place:
        place = Place.of(key)
        return place if place in self._known or place in self._listing else Place(place.group_kind)


def _number(key: str) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest())
