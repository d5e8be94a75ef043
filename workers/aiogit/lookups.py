"""Names looked up in folders. One that is asked again and again, as by a run of a thousand applications that lie in it, is
taken apart once; any other is only searched."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from workers.aiogit.errors import CorruptPackError
from workers.aiogit.trees import Entry, entries, lookup

T = TypeVar("T")

OFTEN = 16
"""Names asked of one folder before it is worth the taking apart."""
REMEMBERED, TAKEN_APART = 64, 4
"""Folders whose questions are counted, and folders kept taken apart: those that were asked last."""


class Lookups:
    """The entries of trees, by name; ``tree`` reads a raw one. For threads, too: every step is one of a dict's own."""

    def __init__(self, tree: Callable[[bytes], bytes]) -> None:
        self._tree = tree
        self._asked: OrderedDict[bytes, int] = OrderedDict()
        self._apart: OrderedDict[bytes, dict[bytes, Entry]] = OrderedDict()

    def entry(self, tree: bytes, name: bytes) -> Entry | None:
        """The first entry called ``name`` in the tree with this id; None: there is none.

        :raises GitError: it can't be read.
        """
        apart = self._apart.get(tree)
        if apart is not None:
            return apart.get(name)
        data, asked = self._tree(tree), self._asked.pop(tree, 0) + 1
        if asked > OFTEN:
            self._take_apart(tree, data)
        else:
            _keep(self._asked, tree, asked, REMEMBERED)
        return lookup(data, name)

    def _take_apart(self, tree: bytes, data: bytes) -> None:
        found: dict[bytes, Entry] = {}
        try:
            for entry in entries(data):
                found.setdefault(entry.name, entry)
        except CorruptPackError:
            return  # what comes before the damage can still be searched
        _keep(self._apart, tree, found, TAKEN_APART)

    def clear(self) -> None:
        self._asked.clear()
        self._apart.clear()


def _keep(kept: OrderedDict[bytes, T], key: bytes, value: T, most: int) -> None:
    kept[key] = value
    while len(kept) > most:
        with contextlib.suppress(KeyError):  # another thread was faster
            kept.popitem(last=False)
