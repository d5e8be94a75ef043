"""What the cluster showed last of the objects that applications own, in some tens of bytes each, and how events change it. Pure.

What must hold: a list begun anew replaces what was known of its place only when it is whole; and an event that happened
before our last write of its object is old news, whenever it arrives. Objects are kept by the application whose ``Apply``
entry they carry, whether or not it has a document: a document that comes later finds them here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import NamedTuple

from workers.kube.applyset import applyset_id
from workers.kube.handoff import Left
from workers.kube.keys import ObjectKey
from workers.kube.watch import Seen
from workers.watch.drift import Notice, Sight, equal_sight, notice, sight


class Place(NamedTuple):
    """What one watch sees: a group kind, in one namespace or ("") wherever its objects are."""

    group_kind: str
    namespace: str = ""

    @classmethod
    def of(cls, key: str) -> Place:
        """Where the object of this key (as text) is."""
        parts = key.split("/")
        return cls(parts[0], parts[1] if len(parts) == 3 else "")


class UnseenError(LookupError):
    """Nobody watches the object's place, or its list is not whole yet: there is no telling."""


LeftTo = Callable[[str, ObjectKey], Left | None]


def nothing_left(application: str, key: ObjectKey) -> None:
    """No application ignores anything."""


Objects = dict[str, dict[int, Sight]]
"""Application -> a digest of the object's key -> what was seen of it."""


class Sightings:
    """The owned objects of one cluster."""

    def __init__(self, namespace: str, is_human: Callable[[str], bool], left: LeftTo = nothing_left) -> None:
        """``namespace`` is Windlass' own in that cluster: ApplySets are named after it. ``left`` tells of an application's
        object what is left to others."""
        self._namespace, self._is_human, self._left = namespace, is_human, left
        self._ids: dict[str, str] = {}
        self._known: dict[Place, Objects] = {}
        self._listing: dict[Place, Objects] = {}
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

    def knows(self, place: Place) -> bool:
        """Is this place watched, by itself or with all others of its kind, and its list whole?"""
        watched = self._watched(place)
        return watched in self._known and watched not in self._listing

    def saw(self, place: Place, seen: Seen) -> list[tuple[str, Notice]]:
        """What an event of ``place`` means to the applications that own, or owned, its object."""
        number = _number(str(seen.key))
        if self._is_old(number, seen.resource_version):
            return []
        listing = place in self._listing
        objects = self._listing[place] if listing else self._known.setdefault(place, {})
        notices = []
        for application in self._owners(objects, number, seen):
            mine = objects.setdefault(application, {})
            now = (
                None
                if seen.gone
                else sight(seen, application, self._id(application), self._human(application, seen.key))
            )
            before = mine.pop(number, None) if now is None else mine.get(number)
            if now is not None and now != before:
                mine[number] = now
            notices.append((application, Notice.NOTHING if listing else notice(before, now)))
        return notices

    def _human(self, application: str, key: ObjectKey) -> Callable[[str], bool]:
        """Who has nothing to change in the object."""
        left = self._left(application, key)
        return self._is_human if left is None else lambda one: self._is_human(one) and not left.is_left_to(one)

    def _owners(self, objects: Objects, number: int, seen: Seen) -> Iterable[str]:
        """Whose object it is by its managedFields; where somebody wiped them, whose it was."""
        if seen.shares:
            return [share.application for share in seen.shares]
        return [application for application, mine in objects.items() if number in mine]

    def _id(self, application: str) -> str:
        found = self._ids.get(application)
        if found is None:
            found = self._ids[application] = applyset_id(application, self._namespace)
        return found

    def _is_old(self, number: int, version: str) -> bool:
        """Was this before our own write? Versions of one resource can be compared (KEP-5504); where not, it is new."""
        written = self._written.get(number)
        if written is None:
            return False
        if version.isdigit() and int(version) < written:
            return True
        del self._written[number]
        return False

    def wrote(self, application: str, key: str, digest: str, fields: str, version: str) -> None:
        """The watcher made the object equal: so it is, until an event that isn't older than ``version``."""
        if version.isdigit():
            self._written[_number(key)] = int(version)
        self._set(application, key, equal_sight(digest, fields))

    def is_there(self, application: str, key: str) -> None:
        """The object left the watch and is there still: our label isn't on it."""
        self._set(application, key, equal_sight("", "", 0))

    def _set(self, application: str, key: str, now: Sight) -> None:
        place = self._watched(Place.of(key))
        for places in (self._known, self._listing):
            if place in places:
                places[place].setdefault(application, {})[_number(key)] = now

    def look(self, application: str, key: str) -> Sight | None:
        """What was seen last of the object; None: it isn't there.

        :raises UnseenError: there is no telling.
        """
        place = self._watched(Place.of(key))
        if place not in self._known or place in self._listing:
            raise UnseenError(key)
        return self._known[place].get(application, {}).get(_number(key))

    def _watched(self, place: Place) -> Place:
        return place if place in self._known or place in self._listing else Place(place.group_kind)


def _number(key: str) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest())
