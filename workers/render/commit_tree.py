"""One commit as renderers see it: folders and plain files by path, and the ids by which two commits' are compared.

What must hold: a path never leaves the repository; a link, a submodule or a name that no file may have is refused wherever it
is met, with its path and nothing of what it leads to (threats B1, B2); nothing is read that was not asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, Protocol

from windlass.errors import PermanentError
from workers.aiogit.trees import Entry, readable, refusal

Kind = Literal["file", "folder"]
MAX_DEPTH = 64
MAX_FILES = 10_000
"""Files under one folder that is read whole, such as a chart."""


class Objects(Protocol):
    """What a tree is read from: a :class:`workers.aiogit.GitRepository`."""

    def tree_id(self, commit: str, path: str) -> str | None: ...
    def entries(self, tree: str) -> Sequence[Entry]: ...
    def entry(self, tree: str, name: str) -> Entry | None: ...
    def blob(self, oid: str) -> bytes: ...


class RenderError(PermanentError):
    """What keeps a source from being rendered, and where: ``line`` from 1, 0 where it is not known."""

    def __init__(self, message: str, file: str = "", line: int = 0) -> None:
        place = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        super().__init__(place + message)
        self.message, self.file, self.line = message, file, line


class Node(NamedTuple):
    """A file or a folder, and its object id."""

    kind: Kind
    oid: str


class CommitTree:
    """The tree of ``commit``, which must be there. Reads are synchronous and short; folders are remembered."""

    def __init__(self, objects: Objects, commit: str) -> None:
        self.commit = commit
        self._objects = objects
        self._root = objects.tree_id(commit, "") or ""
        self._folders: dict[str, dict[str, Entry]] = {}
        self._looked_up: dict[tuple[str, str], Entry | None] = {}

    def node(self, path: str) -> Node | None:
        """What is at ``path``; None: nothing.

        :raises RenderError: something that must not be read, there or on the way.
        """
        oid, kind = self._root, "folder"
        steps = path.split("/") if path else []
        for depth, name in enumerate(steps):
            if kind != "folder":
                return None
            entry = self._entry(oid, name)
            if entry is None:
                return None
            at = "/".join(steps[: depth + 1])
            if reason := refusal(entry):
                raise RenderError(reason, at)
            oid, kind = entry.oid.hex(), "folder" if entry.is_tree else "file"
        return Node("folder" if kind == "folder" else "file", oid)

    def oid(self, path: str) -> str:
        """The id of what is at ``path``, "" where nothing readable is: two commits with equal ids hold the same there."""
        try:
            found = self.node(path)
        except RenderError:
            return ""
        return found.oid if found is not None else ""

    def is_file(self, path: str) -> bool:
        found = self.node(path)
        return found is not None and found.kind == "file"

    def is_folder(self, path: str) -> bool:
        found = self.node(path)
        return found is not None and found.kind == "folder"

    def names(self, folder: str) -> list[str]:
        """The names in ``folder``; none where there is no such folder."""
        found = self.node(folder)
        return list(self._entries(found.oid)) if found is not None and found.kind == "folder" else []

    def read(self, path: str) -> bytes:
        """The file's content.

        :raises RenderError: there is no such file.
        """
        found = self.node(path)
        if found is None or found.kind != "file":
            raise RenderError("there is no such file", path)
        return self._objects.blob(found.oid)

    def files(self, folder: str) -> Iterator[tuple[str, str]]:
        """Every file under ``folder``: (path, id).

        :raises RenderError: something in it must not be read, or there is too much of it.
        """
        found = self.node(folder)
        if found is None or found.kind != "folder":
            raise RenderError("there is no such folder", folder)
        left, waiting = MAX_FILES, [(folder, found.oid, 0)]
        while waiting:
            at, oid, depth = waiting.pop()
            if depth > MAX_DEPTH:
                raise RenderError(f"folders are nested more than {MAX_DEPTH} deep", at[:200])
            for name, entry in self._entries(oid).items():
                path = f"{at}/{name}" if at else name
                if reason := refusal(entry):
                    raise RenderError(reason, path)
                left -= 1
                if left < 0:
                    raise RenderError(f"more than {MAX_FILES} files", folder)
                if entry.is_tree:
                    waiting.append((path, entry.oid.hex(), depth + 1))
                else:
                    yield path, entry.oid.hex()

    def _entry(self, tree: str, name: str) -> Entry | None:
        """One name: a large folder that nobody has listed is not taken apart for it."""
        listed = self._folders.get(tree)
        if listed is not None:
            return listed.get(name)
        if (tree, name) not in self._looked_up:
            self._looked_up[tree, name] = self._objects.entry(tree, name)
        return self._looked_up[tree, name]

    def _entries(self, tree: str) -> dict[str, Entry]:
        known = self._folders.get(tree)
        if known is None:
            listed = self._objects.entries(tree)
            known = self._folders[tree] = {readable(entry.name): entry for entry in listed}
            if len(known) < len(listed):
                raise RenderError("a folder holds the same name twice")
        return known


def join(folder: str, path: str) -> str | None:
    """Where ``path``, which a file in ``folder`` names, leads: "" is the repository's root, None is outside of it."""
    steps = folder.split("/") if folder and not path.startswith("/") else []
    for step in path.split("/"):
        if step == "..":
            if not steps:
                return None
            steps.pop()
        elif step not in ("", "."):
            steps.append(step)
    return "/".join(steps)


def parent(path: str) -> str:
    """The folder that ``path`` is in."""
    return path.rpartition("/")[0]
