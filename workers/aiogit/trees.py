"""Two trees compared as raw bytes: what differs is found without looking at what does not. Pure.

A folder of 10,000 files of which one changed is two byte strings with a common head and tail; only the few entries
between them are taken apart. Nothing here trusts the order of a tree's entries or their names: see :func:`refusal`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from workers.aiogit.errors import CorruptPackError

TREE_MODE, FILE_MODES = 0o040000, frozenset({0o100644, 0o100755, 0o100664})
LINK_MODE, SUBMODULE_MODE = 0o120000, 0o160000

_ENTRY = re.compile(rb"([0-7]{5,6}) ([^\0]+)\0([\s\S]{20})")
_ENTRIES = re.compile(rb"(?:[0-7]{5,6} [^\0]+\0[\s\S]{20})*+")
_UNSAFE_NAME = re.compile(r"[\x00-\x1f\x7f-\x9f/\\]")


class Entry(NamedTuple):
    mode: int
    name: bytes
    oid: bytes

    @property
    def is_tree(self) -> bool:
        return self.mode == TREE_MODE


class Difference(NamedTuple):
    """One name in two trees; ``new`` is None where it left. ``duplicate``: the tree has the name twice, which none
    may."""

    name: bytes
    old: Entry | None
    new: Entry | None
    duplicate: bool


def entries(tree: bytes) -> Iterator[Entry]:
    """All entries of a raw tree.

    :raises CorruptPackError: it is not one.
    """
    position = 0
    for match in _ENTRY.finditer(tree):
        if match.start() != position:
            break
        position = match.end()
        yield Entry(int(match[1], 8), match[2], match[3])
    if position != len(tree):
        raise CorruptPackError("a tree object is damaged")


def lookup(tree: bytes, name: bytes) -> Entry | None:
    """The entry called ``name``. Looks for its bytes, then makes sure that an entry begins there (an id may hold any
    bytes)."""
    needle, position = b" " + name + b"\0", -1
    while (position := tree.find(needle, position + 1)) >= 0:
        for start in (position - 6, position - 5):
            match = _ENTRY.match(tree, start) if start >= 0 else None
            if match and match[2] == name and _boundary(tree, start) == start:
                return Entry(int(match[1], 8), name, match[3])
    return None


def differences(old: bytes, new: bytes) -> Iterator[Difference]:
    """What differs between two raw trees, by name; a name whose kind changed (file, folder) is one difference.

    The trees are taken apart at once, and compared as the caller goes on.

    :raises CorruptPackError: one of them is not a tree.
    """
    if not old or not new:
        return _by_name(list(entries(old)), list(entries(new)))
    head = _common_prefix(old, new)
    start = _boundary(new, head)
    tail = min(_common_suffix(old, new), len(old) - start, len(new) - start)
    before: list[Entry] = []
    after: list[Entry] = []
    left, right = start, start
    # entry by entry, until both stand at the same place of the common tail
    while not (len(old) - left == len(new) - right <= tail):
        if len(old) - left >= len(new) - right and left < len(old):
            entry, left = _entry(old, left)
            before.append(entry)
        else:
            entry, right = _entry(new, right)
            after.append(entry)
    return _by_name(before, after)


def _by_name(before: list[Entry], after: list[Entry]) -> Iterator[Difference]:
    old = {entry.name: entry for entry in before}
    new = {entry.name: entry for entry in after}
    twice = (
        {name for name, count in Counter(entry.name for entry in after).items() if count > 1}
        if len(new) < len(after)
        else ()
    )
    for name, entry in new.items():
        if name in twice or old.get(name) != entry:
            yield Difference(name, old.get(name), entry, name in twice)
    for name, entry in old.items():
        if name not in new:
            yield Difference(name, entry, None, duplicate=False)


def _entry(tree: bytes, position: int) -> tuple[Entry, int]:
    match = _ENTRY.match(tree, position)
    if match is None:
        raise CorruptPackError("a tree object is damaged")
    mode, name, oid = match.groups()
    return Entry(int(mode, 8), name, oid), match.end()


def _boundary(tree: bytes, position: int) -> int:
    """Where the last entry that ends at or before ``position`` ends."""
    match = _ENTRIES.match(tree, 0, position)
    return match.end() if match else 0


def _common_prefix(one: bytes, other: bytes) -> int:
    """By halves, so that it is a few comparisons of memory, whatever the length."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _common_suffix(one: bytes, other: bytes) -> int:
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[len(one) - middle : len(one) - low] == other[len(other) - middle : len(other) - low]:
            low = middle
        else:
            high = middle - 1
    return low


def refusal(entry: Entry) -> str:
    """Why ``entry`` must not be read; "" for a plain file or folder with a sane name."""
    if entry.mode == LINK_MODE:
        return "is a symbolic link"
    if entry.mode == SUBMODULE_MODE:
        return "is a submodule"
    if not entry.is_tree and entry.mode not in FILE_MODES:
        return f"has the unknown file mode {entry.mode:o}"
    try:
        name = entry.name.decode()
    except UnicodeDecodeError:
        return "has a name that is not UTF-8"
    if name in (".", "..") or name.lower() == ".git" or _UNSAFE_NAME.search(name):
        return "has a name that no file may have"
    return ""


def readable(name: bytes) -> str:
    """``name`` for an error message: what is not printable is escaped."""
    text = name.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
