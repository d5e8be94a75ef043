"""Documents from a directory, read again when it changes. A document that is gone deletes nothing: see `workers`."""

from __future__ import annotations

import os
from pathlib import Path

from windlass.documents.catalog import Catalog, Placed, build
from windlass.documents.parse import parse_documents
from windlass.errors import DocumentError

SUFFIXES = (".yaml", ".yml", ".json")
Signature = tuple[tuple[str, int, int, int], ...]


class DocumentDirectory:
    """The documents below ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._signature: Signature | None = None
        self._good: Catalog | None = None

    def load(self) -> Catalog:
        """Read everything. While the directory can't be read or is empty, the last good documents stay valid."""
        try:
            files = self._files()
        except OSError as error:
            return self._kept(DocumentError(f"can't be read: {error.strerror}", file=str(self._path)))
        self._signature = _signature(files)
        placed: list[Placed] = []
        errors: list[DocumentError] = []
        for file in files:
            name = str(file.relative_to(self._path))
            try:
                read = parse_documents(file.read_bytes(), name)
            except OSError as error:
                errors.append(DocumentError(f"can't be read: {error.strerror}", file=name))
                continue
            placed += [Placed(document, name, line) for document, line in read.documents]
            errors += read.errors
        if not placed and not errors:
            return self._kept(DocumentError("no documents here", file=str(self._path)))
        self._good = build(placed, errors)
        return self._good

    def reload_if_changed(self) -> Catalog | None:
        """The documents, if a file came, went or changed since they were last read."""
        try:
            signature = _signature(self._files())
        except OSError:
            return None
        return self.load() if signature != self._signature else None

    def _files(self) -> list[Path]:
        if not self._path.is_dir():
            raise NotADirectoryError(20, "not a directory", str(self._path))
        found = []
        for folder, folders, names in os.walk(self._path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            found += [Path(folder, name) for name in names if name.endswith(SUFFIXES) and not name.startswith(".")]
        return sorted(found)

    def _kept(self, error: DocumentError) -> Catalog:
        if self._good is None:
            return build([], [error])
        return self._good._replace(errors=(*self._good.errors, error))


def _signature(files: list[Path]) -> Signature:
    rows = []
    for file in files:
        try:
            stat = file.stat()
        except FileNotFoundError:
            continue
        rows.append((str(file), stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return tuple(rows)
