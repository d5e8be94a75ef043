"""Documents from a directory, and of custom resources beside it, read again when they change.

What must hold: an absent document never deletes anything, so while the directory can't be read, or is empty, the last good
documents stay valid; nothing in it can make a reader wait (a pipe), read without end (a huge file, a loop of links), or
look elsewhere (a link that leaves the directory). A ConfigMap's mount is all links, within the directory.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from windlass.documents.catalog import Catalog, Placed, build
from windlass.documents.parse import parse_documents
from windlass.documents.resources import Found, Of
from windlass.errors import DocumentError
from windlass.yamls import Limits

SUFFIXES = (".yaml", ".yml", ".json")
LARGEST = Limits().size
SETTLED = 0.1
"""Seconds: a file changed so shortly before it was read may change again without that its time stamp shows it (the
kernel's clock ticks every 1 to 10 ms)."""


class _File(NamedTuple):
    """A file of documents: what tells that it changed, or what keeps it from being read."""

    path: Path
    name: str
    signature: tuple[int, ...] = ()
    refused: str = ""


class Beside:
    """The documents of custom resources, as they were heard of last. Replaced as a whole, by any thread."""

    def __init__(self) -> None:
        self.found = Found()


class _Good(NamedTuple):
    """What the directory held when it was last read well."""

    placed: list[Placed]
    errors: list[DocumentError]


class DocumentDirectory:
    """The documents below ``path``, and those ``beside`` it. A name that is in both is the directory's."""

    def __init__(self, path: Path, beside: Beside | None = None) -> None:
        self._path, self._beside = path, beside
        self._signature: object = None
        self._good: _Good | None = None
        self.heard = Found()  # the resources that were read last
        self._said: object = None

    def load(self) -> Catalog:
        """Read everything. Blocks for as long as the disk takes, and about 0.1 ms a document.

        Never raises: what is wrong is among the catalog's errors.
        """
        started = time.time_ns()
        files = self._files()
        self._signature = _signature(files, started)
        self.heard = self._beside.found if self._beside is not None else Found()
        catalog = self._read(files)
        self._said = _gist(catalog)
        return catalog

    def reload_if_changed(self) -> Catalog | None:
        """The documents, if what they say changed since they were last read. One look costs a `stat` a file."""
        heard = self._beside is None or self._beside.found is self.heard
        if heard and self._signature is not None and _signature(self._files(), time.time_ns()) == self._signature:
            return None
        before = self._said
        catalog = self.load()
        return catalog if _gist(catalog) != before else None

    def _read(self, files: list[_File] | DocumentError) -> Catalog:
        if isinstance(files, DocumentError):
            return self._kept(files)
        placed: list[Placed] = []
        errors: list[DocumentError] = []
        for file in files:
            if file.refused:
                errors.append(DocumentError(file.refused, file=file.name))
                continue
            try:
                read = parse_documents(file.path.read_bytes(), file.name)
            except OSError as error:
                errors.append(DocumentError(f"can't be read: {error.strerror}", file=file.name))
                continue
            placed += [Placed(document, file.name, line) for document, line in read.documents]
            errors += read.errors
        if not placed and not errors:
            if self._good is None and self.heard.documents:
                return self._together(_Good([], []))
            return self._kept(DocumentError("no documents here", file=str(self._path)))
        self._good = _Good(placed, errors)
        return self._together(self._good)

    def _files(self) -> list[_File] | DocumentError:
        try:
            root = os.path.realpath(self._path, strict=True)
            return sorted(_walk(root, root, "", frozenset({root})), key=lambda file: file.name)
        except OSError as error:
            return DocumentError(f"can't be read: {error.strerror}", file=str(self._path))

    def _kept(self, error: DocumentError) -> Catalog:
        good = self._good or _Good([], [])
        return self._together(_Good(good.placed, [*good.errors, error]))

    def _together(self, good: _Good) -> Catalog:
        beside, ending = _placed(self.heard.documents), _placed(self.heard.ending)
        return build([*good.placed, *beside], [*good.errors, *self.heard.errors], ending)


def _placed(several: Iterable[Of]) -> list[Placed]:
    return [Placed(one.document, one.resource.label, 0, one.namespace) for one in several]


def _walk(root: str, folder: str, prefix: str, around: frozenset[str]) -> Iterator[_File]:
    """The files of documents below ``folder``, links within ``root`` followed; ``around`` are the folders it is in."""
    try:
        with os.scandir(folder) as listing:
            entries = [entry for entry in listing if not entry.name.startswith(".")]
    except OSError as error:
        if folder == root:
            raise
        yield _File(Path(folder), prefix, (), f"can't be read: {error.strerror}")
        return
    for entry in entries:
        path, name = entry.path, prefix + os.fsencode(entry.name).decode(errors="backslashreplace")
        link = entry.is_symlink()
        if link:
            path = os.path.realpath(path)
            if not (path + os.sep).startswith(root + os.sep):
                yield _File(Path(path), name, (), "a link that leaves the directory is not followed")
                continue
        if _is_folder(path) if link else entry.is_dir():
            if path not in around:
                yield from _walk(root, path, f"{name}/", around | {path})
        elif name.endswith(SUFFIXES):
            yield _file(path, name)


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except OSError:  # behind a folder that may not be entered
        return False


def _file(location: str, name: str) -> _File:
    path = Path(location)
    try:
        status = path.stat()
    except OSError as error:
        return _File(path, name, (), f"can't be read: {error.strerror}")
    signature = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if not stat.S_ISREG(status.st_mode):
        return _File(path, name, signature, "not a regular file")
    if status.st_size > LARGEST:
        return _File(path, name, signature, f"{status.st_size} bytes: more than the {LARGEST} that a file may have")
    return _File(path, name, signature)


def _signature(files: list[_File] | DocumentError, now: int) -> object:
    """What differs when a file came, went or changed; None while one of them is too young to tell."""
    if isinstance(files, DocumentError):
        return str(files)
    settled = now - int(SETTLED * 1e9)
    young = any(settled < changed <= now for file in files for changed in file.signature[3:])
    return None if young else tuple(files)


def _gist(catalog: Catalog) -> object:
    """What a reader of the catalog could tell apart."""
    return catalog.digest, tuple(map(str, catalog.errors)), catalog.warnings
