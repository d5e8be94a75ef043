"""Fields that an application leaves to others: how they leave our applies without leaving the object. Pure.

A field that an apply no longer names is removed by the server, or falls back to its default, if nobody else owns it: simply
omitting replicas takes three to one. So before it is omitted its ownership passes to a second manager, `IGNORED`, by a
write of managedFields alone. What must hold: no apply without a field is sent before its ownership has passed on; Git's
value is written once, where nobody owns the field yet, and never forced on anybody; and what is no longer ignored is ours
again, so that the next apply brings Git's value back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from windlass.documents.ignoring import Pointer
from workers.kube import pointers
from workers.kube.errors import ApiError, Conflict
from workers.kube.fieldsets import FieldSet, minus, names, union
from workers.kube.managed_fields import HASH, IGNORED, PART_OF, Entry, application_of, own_entry

MARKS: FieldSet = {"f:metadata": {"f:labels": {f"f:{PART_OF}": {}}, "f:annotations": {f"f:{HASH}": {}}}}
"""Ours on every member, whatever is ignored."""


class Left(NamedTuple):
    """What of one object is left to others: the fields at these pointers, and those that these managers own."""

    pointers: tuple[Pointer, ...]
    managers: tuple[str, ...] = ()

    def is_left_to(self, manager: str) -> bool:
        """Are the fields of ``manager`` none of ours to take?"""
        if application_of(manager):
            return False
        return manager == IGNORED or any(fnmatchcase(manager, pattern) for pattern in self.managers)


NOTHING = Left(())


class Handoff:
    """One write of one object: ``body`` is what is to be sent next.

    An object is looked at (`looked`) before anything is left out of it, once; ``settled``: that was done before.
    """

    def __init__(self, left: Left | None, manifest: dict[str, Any], *, settled: bool = False) -> None:
        """``manifest`` is what Git says, as it would be sent; ``left`` is None where all of it is Git's."""
        self._left, self._whole = left or NOTHING, manifest
        self._final: dict[str, Any] = pointers.reduced(manifest, self._left.pointers)
        self.body = self._final
        self.unsure = left is not None and (not settled or bool(left.managers))
        self._created = False

    @property
    def complete(self) -> bool:
        """Is ``body`` what is applied from now on? If not, it holds what only begins with Git's value."""
        return self.body is self._final

    def is_left_to(self, manager: str) -> bool:
        """Are the fields of ``manager`` none of ours to take?"""
        return self._left is not NOTHING and self._left.is_left_to(manager)

    def look_again(self) -> None:
        """Something came between."""
        self.unsure = self._left is not NOTHING

    def looked(self, metadata: dict[str, Any] | None, *, besides: str = "") -> None:
        """The object's metadata as it is now; None: it isn't there, so all of Git's values are its first ones.

        ``besides`` is a manager whose fields count for nobody's: where nothing can be handed over, they stay in ``body``.
        """
        self.unsure = False
        entries = (metadata or {}).get("managedFields") or []
        if metadata is None:
            self.body, self._created = self._whole, True
            return
        self._final = self._without_theirs(entries, self._left.pointers)
        known = union(_fields(entry) for entry in entries if not besides or entry.get("manager") != besides)
        absent = [p for p in self._places() if entries and not pointers.chosen(known, [p], self._whole)]
        present = [p for p in self._places() if p not in absent]
        self.body = self._without_theirs(entries, present) if absent else self._final

    def answered(self, entries: Sequence[Entry], manager: str, *, created: bool) -> bool:
        """The server took ``body``, and tracks its fields as ``entries`` say. True: another apply follows, of a new ``body``.

        :raises ApiError: a pointer goes into what the server knows only as a whole.
        """
        if not self.complete and (own := own_entry(entries, manager)) is not None:
            self._refuse_parts(_fields(own))
        if self.complete and created and not self._created and self._final != self._whole:
            self.body, self._created = self._whole, True  # it was deleted meanwhile: it begins anew
            return True
        again = not self.complete
        self.body = self._final
        return again

    def refused(self, error: ApiError) -> bool:
        """The server didn't take ``body``. True: try again; something is there, or isn't, that was not expected."""
        if error.status not in (400, 422) or self._created or not self.complete or self._final == self._whole:
            return False
        self.unsure = self._created = True
        return True

    def contested(self, conflicts: Sequence[Conflict]) -> bool:
        """Has somebody come first to a field that was to begin with Git's value? Then it is theirs."""
        if not any(names(self.body, one.field) and not names(self._final, one.field) for one in conflicts):
            return False
        self.body = self._final
        return True

    def entries(self, entries: Sequence[Entry], manager: str) -> list[Entry] | None:
        """``entries`` with what is ignored out of the one of ``manager``, and owned by somebody; None: they are so."""
        if self._left is NOTHING:
            return None
        complete = self.complete
        self._final = self._without_theirs(entries, self._left.pointers)
        self.body = self._final if complete else self.body
        own = own_entry(entries, manager)
        if own is None:
            return None
        kept = own_entry(entries, IGNORED)
        held = union(_fields(entry) for entry in entries if entry is not own and entry is not kept)
        ours, theirs = _fields(own), _fields(kept) if kept else {}
        chosen = minus(pointers.chosen(union([ours, theirs]), self._left.pointers, self._whole), MARKS)
        back = minus(theirs, chosen)
        left = minus(minus(union([ours, back]), chosen), minus(self._theirs(entries), MARKS))
        ignored = minus(chosen, held)
        if (left, ignored) == (ours, theirs):
            return None
        others = [entry for entry in entries if entry is not own and entry is not kept]
        handed = {**own, **(kept or {}), "manager": IGNORED, "fieldsV1": ignored}
        return [{**own, "fieldsV1": left}, *others, *([handed] if ignored else [])]

    def _places(self) -> Iterator[Pointer]:
        """Where Git has values of ignored fields."""
        for pointer in self._left.pointers:
            yield from pointers.places(self._whole, pointer)

    def _theirs(self, entries: Sequence[Entry]) -> FieldSet:
        """What the managers own to whom it is left."""
        left = (entry for entry in entries if entry.get("manager") != IGNORED and entry.get("subresource") != "status")
        return union(_fields(entry) for entry in left if self._left.is_left_to(entry.get("manager", "")))

    def _without_theirs(self, entries: Sequence[Entry], ignored: Sequence[Pointer]) -> dict[str, Any]:
        """The manifest without what is at ``ignored`` and without what others own to whom it is left."""
        plain: dict[str, Any] = pointers.reduced(self._whole, ignored)
        theirs = minus(self._theirs(entries), MARKS)
        found = pointers.without(plain, theirs) if theirs else plain
        metadata = self._whole["metadata"]
        identity = {name: metadata[name] for name in ("name", "namespace") if name in metadata}
        fresh: dict[str, Any] = {**found, "metadata": {**found.get("metadata", {}), **identity}}
        return self._final if fresh == self._final else fresh

    def _refuse_parts(self, fields: FieldSet) -> None:
        for pointer in self._left.pointers:
            if path := pointers.whole(fields, pointer, self._whole):
                raise ApiError(
                    f"sync.ignore: /{'/'.join(pointer)}: the API server knows {path} only as a whole, so a part of it "
                    f"can't be ignored; {path} can",
                    status=422,
                )


def _fields(entry: Entry) -> FieldSet:
    return entry.get("fieldsV1") or {}
