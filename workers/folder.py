"""A folder of this machine in the place of a commit: its files, as they are now, as a commit of a store that goes with it.

Everything that reads a source goes on reading a commit, with the same rules (no link is followed, nothing outside is read) and
the same limits. What must hold: the same files make the same commit, to the bit, so that its id says what was deployed.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from windlass.errors import PermanentError
from workers.aiogit import GitRepository, Remote
from workers.aiogit.packs import BLOB, COMMIT, TREE, PackObject, object_id
from workers.aiogit.trees import LINK_MODE, TREE_MODE
from workers.render.kustomization import NAMES as KUSTOMIZATIONS

MOST_FILES, MOST_BYTES = 20_000, 64 << 20
ADDRESS = "https://folder.invalid/folder"
"""Nobody is asked there (RFC 2606): all of it is in the store."""
_PIN = "folder"
_WHO = b"windlass deploy <deploy@windlass.invalid> 0 +0000"

_Folder = dict[bytes, "_Folder | tuple[int, bytes]"]


class Taken(NamedTuple):
    """The commit, and where the folder is in it."""

    commit: str
    path: str


async def opened(directory: Path) -> GitRepository:
    """A store below ``directory``, for one folder."""
    repository = GitRepository(directory, Remote(ADDRESS))
    await repository.open()
    return repository


def take(repository: GitRepository, folder: Path) -> Taken:
    """Commit ``folder`` as it is now; slow. Of a kustomization in a Git work tree, the work tree's other files are taken too (but
    for those that Git ignores): it may build upon them.

    :raises PermanentError: it is no folder, or too much.
    """
    place = folder.resolve()
    if not place.is_dir():
        raise PermanentError(f"{folder} is no folder")
    root = _work_tree(place) if any((place / name).is_file() for name in KUSTOMIZATIONS) else place
    paths = set(_below(place, root))
    if root != place:
        paths |= set(_tracked(root))
    objects: dict[bytes, PackObject] = {}
    tree = _written(_read(root, paths, objects), objects)
    raw = b"tree %s\nauthor %s\ncommitter %s\n\nwindlass deploy\n" % (tree.hex().encode(), _WHO, _WHO)
    commit = object_id(COMMIT, raw)
    repository.store.write({**objects, commit: PackObject(COMMIT, raw)})
    repository.store.pin(_PIN, commit.hex())
    path = place.relative_to(root).as_posix()
    return Taken(commit.hex(), "" if path == "." else path)


def _work_tree(folder: Path) -> Path:
    """The root of the Git work tree that ``folder`` is in, else the folder itself."""
    return next((parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), folder)


def _below(folder: Path, root: Path) -> Iterator[bytes]:
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != ".git"]
        links = [name for name in folders if Path(where, name).is_symlink()]
        yield from (os.fsencode(os.path.relpath(os.path.join(where, name), root)) for name in (*files, *links))  # noqa: PTH118


def _tracked(root: Path) -> Iterator[bytes]:
    """The files that Git would add, or has, that are there."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise PermanentError(f"{root}: git can't list its files: {error}") from None
    yield from (path for path in listed.split(b"\0") if path and os.path.lexists(os.path.join(os.fsencode(root), path)))  # noqa: PTH118


def _read(root: Path, paths: set[bytes], objects: dict[bytes, PackObject]) -> _Folder:
    """The folders' entries, their files' contents among ``objects``."""
    if len(paths) > MOST_FILES:
        raise PermanentError(f"{root} has more than {MOST_FILES} files")
    size, top = 0, _Folder()
    for path in paths:
        place = Path(os.fsdecode(os.path.join(os.fsencode(root), path)))  # noqa: PTH118
        try:
            status = place.lstat()
            size += status.st_size if stat.S_ISREG(status.st_mode) else 0
            if size > MOST_BYTES:
                raise PermanentError(f"{root} holds more than {MOST_BYTES >> 20} MiB")
            if stat.S_ISLNK(status.st_mode):
                mode, content = LINK_MODE, os.fsencode(place.readlink())
            elif stat.S_ISREG(status.st_mode):
                mode, content = 0o100755 if status.st_mode & 0o100 else 0o100644, place.read_bytes()
            else:
                continue  # a work tree of a submodule, a socket
        except OSError as error:
            raise PermanentError(f"{place} can't be read: {error.strerror}") from None
        oid = object_id(BLOB, content)
        objects[oid] = PackObject(BLOB, content)
        *folders, name = path.split(b"/")
        folder = top
        for part in folders:
            below = folder.setdefault(part, {})
            assert isinstance(below, dict)
            folder = below
        folder[name] = mode, oid
    return top


def _written(folder: _Folder, objects: dict[bytes, PackObject]) -> bytes:
    """The tree's id; Git sorts a folder as if its name ended with a slash."""
    lines = []
    for name, entry in sorted(folder.items(), key=lambda item: item[0] + b"/" * isinstance(item[1], dict)):
        mode, oid = (TREE_MODE, _written(entry, objects)) if isinstance(entry, dict) else entry
        lines.append(b"%o %s\0%s" % (mode, name, oid))
    raw = b"".join(lines)
    oid = object_id(TREE, raw)
    objects[oid] = PackObject(TREE, raw)
    return oid
