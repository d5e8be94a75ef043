"""Proves that nothing is missing under a commit, before a ref says that it is there.

A server may leave out of a pack what is reachable from our haves; if we lack such an object, nothing else notices
until it is read. So every new commit is followed to commits known to be whole, and each one's tree is compared with
its parent's: the cost is that of the differences, and unchanged folders are whole because the parent is. With this, a
pinned commit's whole history and every path under it are there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from workers.aiogit.errors import CorruptPackError, IncompleteError
from workers.aiogit.packs import COMMIT, TREE, PackObject
from workers.aiogit.store import Store
from workers.aiogit.trees import SUBMODULE_MODE, Entry, differences

_TREE_LINE = re.compile(rb"tree ([0-9a-f]{40})\n")
_PARENT_LINES = re.compile(rb"parent ([0-9a-f]{40})\n")


class TooLongError(Exception):
    """The proof takes more steps than may be taken at once; not a finding."""


def commit_tree(commit: bytes) -> bytes:
    """The tree's id of a raw commit.

    :raises CorruptPackError: its header is not one.
    """
    match = _TREE_LINE.match(commit)
    if match is None:
        raise CorruptPackError("a commit object is damaged")
    return bytes.fromhex(match[1].decode())


def commit_parents(commit: bytes) -> list[bytes]:
    """The parents' ids of a raw commit."""
    parents, position = [], 46
    while match := _PARENT_LINES.match(commit, position):
        parents.append(bytes.fromhex(match[1].decode()))
        position = match.end()
    return parents


class Proof:
    """One proof over ``fresh`` objects (not written yet) and the store's.

    ``steps`` bounds the entries looked at (None: no bound). ``whole`` tells of a commit whether it is known to be
    whole.
    """

    def __init__(
        self,
        store: Store,
        fresh: Mapping[bytes, PackObject],
        *,
        whole: Callable[[str], bool],
        steps: int | None = None,
    ) -> None:
        self._store, self._fresh, self._is_whole, self._steps = store, fresh, whole, steps
        self._seen: set[bytes] = set()

    def prove(self, tip: str) -> int:
        """Returns how many new commits there are.

        :raises IncompleteError: something is missing, or is not what it should be.
        :raises CorruptPackError: an object is damaged. :raises TooLongError: more than ``steps``.
        """
        new = self._new_commits(bytes.fromhex(tip))
        for raw in new:
            parents = commit_parents(raw)
            base = self._tree(commit_tree(self._commit(parents[0]))) if parents else b""
            self._prove_tree(commit_tree(raw), base)
        return len(new)

    def _new_commits(self, tip: bytes) -> list[bytes]:
        """The raw commits from ``tip`` down to whole ones, each after its parents."""
        order: list[bytes] = []
        done: set[bytes] = set()
        stack: list[tuple[bytes, bool]] = [(tip, False)]
        while stack:
            oid, leaving = stack.pop()
            if leaving:
                order.append(self._commit(oid))
            elif oid not in done and not self._is_whole(oid.hex()):
                self._step()
                done.add(oid)
                stack.append((oid, True))
                stack.extend((parent, False) for parent in commit_parents(self._commit(oid)))
        return order

    def _prove_tree(self, oid: bytes, base: bytes) -> None:
        stack = [(oid, base)]
        while stack:
            oid, base = stack.pop()
            if oid in self._seen:
                continue
            self._seen.add(oid)
            for item in differences(base, self._tree(oid)):
                self._step()
                entry = item.new
                if entry is None or entry.mode == SUBMODULE_MODE:
                    continue
                if entry.is_tree:
                    stack.append((entry.oid, self._base_of(item.old)))
                elif entry.oid not in self._fresh and not self._store.exists(entry.oid):
                    raise IncompleteError(f"the blob {entry.oid.hex()} is missing")

    def _base_of(self, old: Entry | None) -> bytes:
        return self._tree(old.oid) if old is not None and old.is_tree else b""

    def _commit(self, oid: bytes) -> bytes:
        item = self._fresh.get(oid)
        if item is None:
            return self._store.commit(oid)
        if item.kind != COMMIT:
            raise IncompleteError(f"{oid.hex()} is not a commit")
        return item.data

    def _tree(self, oid: bytes) -> bytes:
        item = self._fresh.get(oid)
        if item is None:
            return self._store.tree(oid)
        if item.kind != TREE:
            raise IncompleteError(f"{oid.hex()} is not a tree")
        return item.data

    def _step(self) -> None:
        if self._steps is not None:
            self._steps -= 1
            if self._steps < 0:
                raise TooLongError
