"""The bare object store of one repository: raw reads, refs that pin commits, and what is known to be whole.

What must hold: a commit counts as there only when a pin reaches it, and a pin is written only after it was proved
that nothing is missing under it (see ``proof``). The store is never shallow. No work tree, no index, no hooks:
content is only ever data. Several worker processes may share one store.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pygit2
import structlog

from workers.aiogit.errors import GitError, IncompleteError, LimitExceededError
from workers.aiogit.locks import LOCK
from workers.aiogit.lookups import Lookups
from workers.aiogit.loose import write_loose
from workers.aiogit.packs import COMMIT, TREE, OverBudgetError, PackObject
from workers.aiogit.trees import Entry

log = structlog.get_logger(__name__)

PINS = "refs/windlass/"
KEPT = "refs/windlass-kept/"
KEPT_SECONDS = 7 * 86400.0
"""How long a commit that a rewritten history left behind stays readable, unless its name is unpinned before."""
TREE_CACHE_BYTES = 4 << 20
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}")
_CONFIG = {"gc.auto": "0", "core.logAllRefUpdates": "false", "http.followRedirects": "false"}

T = TypeVar("T")


class Store:
    """Synchronous; every call is short unless its docstring says otherwise."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._repository = self._open()
        self._trees: OrderedDict[bytes, bytes] = OrderedDict()
        self._tree_bytes = 0
        self._lookups = Lookups(self.tree)
        self._cache_lock = threading.Lock()  # unpacking may run in a thread
        self._whole: set[str] = set()
        self._pins: dict[str, str] = {}
        self.reload_pins()

    def _open(self) -> pygit2.Repository:
        if (self.directory / "HEAD").exists():
            return pygit2.Repository(str(self.directory))
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        repository = pygit2.init_repository(str(self.directory), bare=True)
        for name, value in _CONFIG.items():
            repository.config[name] = value
        return repository

    def reopen(self) -> None:
        """Forget open packs: another process, or gc, has replaced them."""
        self._repository = pygit2.Repository(str(self.directory))

    def rebuild(self) -> None:
        """Throw everything away but the lock, and begin anew. The caller holds the store's lock, exclusively."""
        self.close()
        for path in self.directory.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()
        self._repository = self._open()
        self._pins, self._whole = {}, set()

    def close(self) -> None:
        self._repository.free()
        self._trees.clear()
        self._tree_bytes = 0
        self._lookups.clear()

    # -- objects --------------------------------------------------------------------------------------------------

    def _retrying(self, read: Callable[[], T]) -> T:
        """Read once more with fresh packs when an object seems to be missing or a pack is gone."""
        try:
            return read()
        except pygit2.GitError:
            self.reopen()
            return read()

    def exists(self, oid: bytes) -> bool:
        return bool(self._repository.odb.exists(pygit2.Oid(oid)))

    def find(self, oid: bytes, max_bytes: int) -> PackObject | None:
        """The object, or None.

        :raises OverBudgetError: it is larger than ``max_bytes``. :raises IncompleteError: it is damaged.
        """
        cached = self._trees.get(oid)
        if cached is not None:
            return PackObject(TREE, cached)
        name = pygit2.Oid(oid)
        if name not in self._repository.odb:
            return None
        try:
            if self._repository.odb.read_header(name)[1] > max_bytes:
                raise OverBudgetError
            kind, data = self._repository.odb.read(name)
        except pygit2.GitError:
            raise IncompleteError(f"the stored object {oid.hex()} can't be read") from None
        return PackObject(int(kind), data)

    def tree(self, oid: bytes) -> bytes:
        """The raw tree ``oid``, from memory if it was read lately.

        :raises IncompleteError: it is missing, damaged, or no tree.
        """
        with self._cache_lock:
            if oid in self._trees:
                self._trees.move_to_end(oid)
                return self._trees[oid]
        kind, data = self._read(oid)
        if kind != TREE:
            raise IncompleteError(f"{oid.hex()} is not a tree")
        self.remember_tree(oid, data)
        return data

    def entry(self, tree: bytes, name: bytes) -> Entry | None:
        """The entry called ``name`` in the tree with this id; None: there is none.

        :raises IncompleteError: the tree is missing, damaged, or none.
        """
        return self._lookups.entry(tree, name)

    def remember_tree(self, oid: bytes, data: bytes) -> None:
        """Keep a raw tree in memory: the next push's is compared with it."""
        with self._cache_lock:
            if oid in self._trees or len(data) > TREE_CACHE_BYTES // 2:
                return
            self._trees[oid] = data
            self._tree_bytes += len(data)
            while self._tree_bytes > TREE_CACHE_BYTES:
                self._tree_bytes -= len(self._trees.popitem(last=False)[1])

    def _read(self, oid: bytes) -> tuple[int, bytes]:
        try:
            kind, data = self._retrying(lambda: self._repository.odb.read(pygit2.Oid(oid)))
        except pygit2.GitError:
            raise IncompleteError(f"the object {oid.hex()} is missing or damaged") from None
        return int(kind), data

    def commit(self, oid: bytes) -> bytes:
        """The raw commit.

        :raises IncompleteError: it is missing, damaged, or no commit.
        """
        kind, data = self._read(oid)
        if kind != COMMIT:
            raise IncompleteError(f"{oid.hex()} is not a commit")
        return data

    def blob(self, oid: str, max_bytes: int) -> bytes:
        """
        :raises LimitExceededError: larger than ``max_bytes``; nothing of it was read.
        :raises IncompleteError: missing or damaged.
        """
        name = pygit2.Oid(hex=oid)
        try:
            size = self._retrying(lambda: self._repository.odb.read_header(name)[1])
            if size > max_bytes:
                raise LimitExceededError(f"a file of {size} bytes is over the limit of {max_bytes}")
            return bytes(self._repository.odb.read(name)[1])
        except pygit2.GitError:
            raise IncompleteError(f"the file {oid} is missing or damaged") from None

    def write(self, objects: dict[bytes, PackObject]) -> None:
        """Write new objects, loose.

        :raises GitError: the disk is full or broken.
        """
        folder = self.directory / "objects"
        for oid, (kind, data) in objects.items():
            if not self.exists(oid):
                try:
                    write_loose(folder, oid, kind, data)
                except OSError as error:
                    raise GitError(f"can't write to the store: {error.strerror}") from None
            if kind == TREE:
                self.remember_tree(oid, data)

    # -- pins -----------------------------------------------------------------------------------------------------

    def reload_pins(self) -> None:
        """Read the pins from disk: other processes write them too. One whose commit can't be read is dropped."""
        pins: dict[str, str] = {}
        for ref in list(self._repository.references.iterator()):
            if not ref.name.startswith((PINS, KEPT)):
                continue
            target = str(ref.target)
            try:
                self.commit(bytes.fromhex(target))
            except IncompleteError:
                log.error("git.pin_lost", ref=ref.name, commit=target)
                self._repository.references.delete(ref.name)
                continue
            pins[ref.name] = target
        if pins != self._pins:
            self._pins = pins
            self._whole = set(pins.values())

    @property
    def pinned(self) -> list[str]:
        """The pinned commits, the latest last, each once."""
        return list(dict.fromkeys(self._pins.values()))

    def pin_of(self, name: str) -> str | None:
        return self._pins.get(_pin(name))

    def pins_of(self, name: str) -> list[str]:
        """What ``name`` keeps, and what rewritten histories left to it."""
        kept = [commit for ref, commit in self._pins.items() if ref.startswith(f"{KEPT}{name}/")]
        return [*filter(None, (self.pin_of(name),)), *kept]

    def pin(self, name: str, commit: str) -> None:
        """Point ``refs/windlass/<name>`` at ``commit``, which must be proved whole. What a rewritten history leaves
        is kept."""
        ref = _pin(name)
        old = self._pins.pop(ref, None)
        if old == commit:
            self._pins[ref] = commit
            return
        if old is not None and not self.descends(commit, old):
            self._set_ref(f"{KEPT}{name}/{int(time.time())}-{old}", old)
        self._set_ref(ref, commit)

    def _set_ref(self, ref: str, commit: str) -> None:
        for attempt in range(5):
            try:
                self._repository.references.create(ref, commit, force=True)
                break
            except (pygit2.GitError, OSError) as error:  # another process holds this ref's lock for a moment
                if attempt == 4:
                    raise GitError(f"can't write {ref}: {error}") from None
                time.sleep(0.002)
        self._pins[ref] = commit
        self._whole.add(commit)

    def unpin(self, name: str) -> None:
        """Forget ``name`` and what was kept for it."""
        for ref in [ref for ref in self._pins if ref == _pin(name) or ref.startswith(f"{KEPT}{name}/")]:
            self._delete_ref(ref)

    def drop_kept(self, now: float) -> None:
        """Forget what was left behind more than a week ago."""
        for ref in [ref for ref in self._pins if ref.startswith(KEPT)]:
            kept_at = ref.rpartition("/")[2].partition("-")[0]
            if kept_at.isdigit() and now - int(kept_at) > KEPT_SECONDS:
                self._delete_ref(ref)

    def _delete_ref(self, ref: str) -> None:
        del self._pins[ref]
        self._whole = set(self._pins.values())
        if ref in self._repository.references:
            self._repository.references.delete(ref)

    # -- history --------------------------------------------------------------------------------------------------

    def descends(self, descendant: str, ancestor: str) -> bool:
        """Is ``ancestor`` reachable from ``descendant``, or the same? May walk the history."""
        if descendant == ancestor:
            return True
        one, other = pygit2.Oid(hex=descendant), pygit2.Oid(hex=ancestor)
        try:
            return bool(self._retrying(lambda: self._repository.descendant_of(one, other)))
        except pygit2.GitError:
            return False

    def has(self, commit: str) -> bool:
        """Is ``commit`` here with all that it needs: pinned, or an ancestor of a pinned one?"""
        if commit in self._whole:
            return True
        oid = bytes.fromhex(commit)
        if not self.exists(oid):
            return False
        if any(self.descends(pin, commit) for pin in reversed(self.pinned)):
            self._whole.add(commit)
            return True
        return False


def _pin(name: str) -> str:
    if not _NAME.fullmatch(name) or ".." in name or name.endswith((".lock", ".")):
        raise ValueError(f"{name!r} can't name a pin")
    return PINS + name
