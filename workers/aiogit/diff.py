"""What differs between two commits under a folder, as files. Whatever is not a plain file with a sane name is
refused, by name.

Nothing here follows a symbolic link, enters a submodule or touches a disk path: names are only ever labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from workers.aiogit.errors import LimitExceededError, PathError
from workers.aiogit.model import Change, Limits
from workers.aiogit.proof import commit_tree
from workers.aiogit.store import Store
from workers.aiogit.trees import Difference, Entry, differences, readable, refusal


class _Folder(NamedTuple):
    path: str
    old: bytes | None
    new: bytes | None
    depth: int


def segments(path: str) -> list[str]:
    """The folders of ``path``, which is relative to the repository's root; "" is the root.

    :raises PathError: it climbs.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in path:
        raise PathError(f"the path {path!r} leaves the repository")
    return parts


def folder_id(store: Store, commit: str, path: str) -> bytes | None:
    """The tree's id at ``path``, None when there is nothing.

    :raises PathError: there is something else, such as a file or a symbolic link.
    """
    oid = commit_tree(store.commit(bytes.fromhex(commit)))
    for part in segments(path):
        entry = store.entry(oid, part.encode())
        if entry is None:
            return None
        reason = refusal(entry) or ("" if entry.is_tree else "is a file")
        if reason:
            raise PathError(f"{path}: {part} {reason}, not a folder")
        oid = entry.oid
    return oid


def object_id(store: Store, commit: str, path: str) -> bytes | None:
    """The id of whatever ``path`` names (file, folder, link), None when there is nothing.

    :raises PathError: it climbs.
    """
    oid, is_tree = commit_tree(store.commit(bytes.fromhex(commit))), True
    for part in segments(path):
        entry = store.entry(oid, part.encode()) if is_tree else None
        if entry is None:
            return None
        oid, is_tree = entry.oid, entry.is_tree
    return oid


def file_id(store: Store, commit: str, path: str) -> bytes | None:
    """The blob's id of the file ``path``; None where there is no plain file of that name."""
    *folder, name = segments(path)
    try:
        tree = folder_id(store, commit, "/".join(folder))
    except PathError:
        return None
    entry = store.entry(tree, name.encode()) if tree is not None else None
    return None if entry is None or entry.is_tree or refusal(entry) else entry.oid


def changes(store: Store, limits: Limits, old: str | None, new: str, path: str) -> Iterator[Change]:
    """The files under ``path`` that differ, lazily. ``old`` None: all files of ``new``.

    :raises PathError: ``new`` has no folder ``path``. :raises LimitExceededError: too many or too deep.
    """
    after = folder_id(store, new, path)
    if after is None:
        raise PathError(f"the folder {path!r} does not exist in {new}")
    before = _old_folder(store, old, path)
    left = limits.tree_entries
    folders = [_Folder("/".join(segments(path)), before, after, 0)]
    while folders:
        folder = folders.pop()
        if folder.old == folder.new:
            continue
        if folder.depth > limits.depth:
            raise LimitExceededError(f"{folder.path[:200]}: folders are nested more than {limits.depth} deep")
        for item in differences(_tree(store, folder.old), _tree(store, folder.new)):
            left -= 1
            if left < 0:
                raise LimitExceededError(f"more than {limits.tree_entries} files differ under {path!r}")
            change, below = _compare(folder, item)
            if change is not None:
                yield change
            if below is not None:
                folders.append(below)


def _old_folder(store: Store, old: str | None, path: str) -> bytes | None:
    """What was not a folder then held no files."""
    try:
        return folder_id(store, old, path) if old is not None else None
    except PathError:
        return None


def _tree(store: Store, oid: bytes | None) -> bytes:
    return store.tree(oid) if oid is not None else b""


def _compare(folder: _Folder, item: Difference) -> tuple[Change | None, _Folder | None]:
    """The file's change, if it is one, and the folder to go on with, if there is one."""
    path = f"{folder.path}/{readable(item.name)}" if folder.path else readable(item.name)
    old_file, old_tree, _ = _side(item.old)
    new_file, new_tree, reason = _side(item.new)
    if item.duplicate:
        new_file, new_tree, reason = None, None, "occurs twice in its folder"
    change = Change(path, old_file, new_file, reason) if reason or old_file != new_file else None
    below = _Folder(path, old_tree, new_tree, folder.depth + 1) if old_tree or new_tree else None
    return change, below


def _side(entry: Entry | None) -> tuple[str | None, bytes | None, str]:
    """What an entry is: the id of a file, the id of a folder, or why it is refused."""
    if entry is None:
        return None, None, ""
    if reason := refusal(entry):
        return None, None, reason
    return (None, entry.oid, "") if entry.is_tree else (entry.oid.hex(), None, "")
