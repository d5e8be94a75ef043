"""The values that go into and come out of a :class:`workers.aiogit.repository.GitRepository`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Way = Literal["present", "v2", "pygit2", "git"]

MIB = 1 << 20


@dataclass(frozen=True)
class Remote:
    """Where a repository is, and how to show that we may read it. The secrets never appear in its ``repr``."""

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ssh_key: bytes | None = field(default=None, repr=False)
    known_hosts: bytes | None = field(default=None, repr=False)
    forge: str = "generic"


@dataclass(frozen=True)
class Limits:
    """What a server may cost us. Bytes, counts and seconds; a pack over the ``inline`` figures goes to ``git
    index-pack``."""

    tip_seconds: float = 15.0
    fetch_seconds: float = 60.0
    clone_seconds: float = 900.0
    answer_bytes: int = 4 * MIB
    """What a server may say besides a pack: advertisements, refs, progress."""
    pack_bytes: int = 2048 * MIB
    pack_memory: int = 2048 * MIB
    """Address space of a git process that unpacks."""
    inline_objects: int = 1000
    inline_bytes: int = 4 * MIB
    inline_inflated: int = 48 * MIB
    blob_bytes: int = 16 * MIB
    """The largest file that is read; larger ones may lie in the repository."""
    tree_entries: int = 500_000
    """Files under one path."""
    depth: int = 64
    """Folders in folders."""


class Fetched(NamedTuple):
    """One fetch: the way it went, why not by the fast one, and what it cost. ``bytes`` and ``objects`` are 0 where
    unknown."""

    commit: str
    way: Way
    reason: str
    bytes: int
    objects: int
    seconds: float


class Change(NamedTuple):
    """A file that differs between two trees; ``old`` and ``new`` are blob ids. ``refused`` says why it must not be
    read.

    ``path`` is the full path in the repository. A refused entry (symbolic link, submodule, unsafe name) has no ``new``.
    """

    path: str
    old: str | None
    new: str | None
    refused: str = ""
