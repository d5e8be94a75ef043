"""A commit made in the bare store: new files, the folders that lead to them, and the commit; nothing is checked out.

What must hold: every entry of a folder that isn't edited keeps its bytes, its mode included; the same input makes the same
commit, to the bit (its time is the event's), so that who repeats a step repeats nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workers.aiogit.diff import segments
from workers.aiogit.errors import GitError
from workers.aiogit.packs import BLOB, COMMIT, TREE, PackObject, object_id
from workers.aiogit.proof import commit_tree
from workers.aiogit.store import Store
from workers.aiogit.trees import lookup, refusal
from workers.promote.identity import Identity, Signer

_ID_BYTES = 20
_COMMITTED = re.compile(rb"^committer [^\n]*> ([0-9]{1,11}) [+-][0-9]{4}$", re.MULTILINE)


@dataclass(frozen=True)
class Draft:
    """What a commit says besides its files. ``at``: seconds since the epoch."""

    message: str
    identity: Identity
    at: float
    signer: Signer | None = None


async def commit(store: Store, tree: bytes, files: Mapping[str, bytes], parents: Sequence[str], draft: Draft) -> str:
    """Write the commit of ``tree`` with these files' new content; its id. The caller holds the store's lock.

    :raises GitError: a file isn't there, or the disk failed. :raises SigningError: the key can't sign.
    """
    objects: dict[bytes, PackObject] = {}
    root = _tree(store, tree, {tuple(segments(path)): data for path, data in files.items()}, objects)
    raw = _raw(root, parents, draft)
    if draft.signer is not None:
        raw = signed(raw, await draft.signer.sign(raw))
    objects[oid := object_id(COMMIT, raw)] = PackObject(COMMIT, raw)
    store.write(objects)
    return oid.hex()


def tree_of(store: Store, commit_id: str) -> bytes:
    """The id of a commit's tree.

    :raises GitError: the commit is not here.
    """
    return commit_tree(store.commit(bytes.fromhex(commit_id)))


def time_of(store: Store, commit_id: str) -> float:
    """When a commit was made, in seconds since the epoch; 0 if it doesn't say.

    :raises GitError: the commit is not here.
    """
    match = _COMMITTED.search(store.commit(bytes.fromhex(commit_id)).partition(b"\n\n")[0])
    return float(match[1]) if match else 0.0


def edited_tree(store: Store, tree: bytes, files: Mapping[str, bytes]) -> bytes:
    """Write ``tree`` with these files' new content; its id.

    :raises GitError: as `commit`.
    """
    objects: dict[bytes, PackObject] = {}
    root = _tree(store, tree, {tuple(segments(path)): data for path, data in files.items()}, objects)
    store.write(objects)
    return root


def _tree(store: Store, oid: bytes, files: Mapping[tuple[str, ...], bytes], into: dict[bytes, PackObject]) -> bytes:
    if not files:
        return oid
    raw = store.tree(oid)
    inside: dict[str, dict[tuple[str, ...], bytes]] = {}
    for path, data in files.items():
        inside.setdefault(path[0], {})[path[1:]] = data
    for name, below in inside.items():
        entry = lookup(raw, name.encode())
        if entry is None or refusal(entry) or entry.is_tree != (() not in below):
            raise GitError(f"{name} is not the file or folder that was looked at")
        if entry.is_tree:
            new = _tree(store, entry.oid, below, into)
        else:
            new = object_id(BLOB, below[()])
            into[new] = PackObject(BLOB, below[()])
        needle = b" " + entry.name + b"\0" + entry.oid
        if raw.count(needle) != 1:
            raise GitError(f"{name} is there twice")
        raw = raw.replace(needle, needle[:-_ID_BYTES] + new)
    root = object_id(TREE, raw)
    into[root] = PackObject(TREE, raw)
    return root


def _raw(tree: bytes, parents: Sequence[str], draft: Draft) -> bytes:
    who = f"{draft.identity} {int(draft.at)} +0000"
    lines = [f"tree {tree.hex()}", *(f"parent {one}" for one in parents), f"author {who}", f"committer {who}"]
    message = draft.message.replace("\0", "").rstrip("\n") + "\n"
    return ("\n".join(lines) + "\n\n" + message).encode()


def signed(raw: bytes, signature: bytes) -> bytes:
    """The commit with its signature: the header ``gpgsig``, last, each further line after a space (gitformat-signature(5))."""
    head, _, message = raw.partition(b"\n\n")
    return head + b"\ngpgsig " + signature.rstrip(b"\n").replace(b"\n", b"\n ") + b"\n\n" + message
