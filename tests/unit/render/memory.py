"""A commit in memory, with Git's own kinds of entries, for what is pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from workers.aiogit.trees import LINK_MODE, SUBMODULE_MODE, TREE_MODE, Entry
from workers.render.commit_tree import CommitTree

LINK, SUBMODULE = "link", "submodule"


class Objects:
    """Objects by id, as a repository hands them out; ``reads`` counts the files that were read."""

    def __init__(self) -> None:
        self.trees: dict[str, list[Entry]] = {}
        self.blobs: dict[str, bytes] = {}
        self.roots: dict[str, str] = {}
        self.reads: list[str] = []

    def tree_id(self, commit: str, path: str) -> str | None:
        assert path == ""
        return self.roots[commit]

    def entries(self, tree: str) -> Sequence[Entry]:
        return self.trees[tree]

    def entry(self, tree: str, name: str) -> Entry | None:
        return next((entry for entry in self.trees[tree] if entry.name == name.encode()), None)

    def blob(self, oid: str) -> bytes:
        self.reads.append(oid)
        return self.blobs[oid]

    def commit(self, files: Mapping[str, str | bytes | tuple[str, str]]) -> CommitTree:
        """A commit of exactly these files; (LINK, target) and (SUBMODULE, "") are no files."""
        name = f"{len(self.roots):040x}"
        self.roots[name] = self._tree(files)
        return CommitTree(self, name)

    def _tree(self, files: Mapping[str, str | bytes | tuple[str, str]]) -> str:
        entries: dict[str, Entry] = {}
        folders: dict[str, dict[str, str | bytes | tuple[str, str]]] = {}
        for path, content in files.items():
            head, slash, rest = path.partition("/")
            if slash:
                folders.setdefault(head, {})[rest] = content
            else:
                entries[head] = self._entry(head, content)
        for folder, below in folders.items():
            entries[folder] = Entry(TREE_MODE, folder.encode(), bytes.fromhex(self._tree(below)))
        listed = sorted(entries.values(), key=lambda entry: entry.name)
        oid = hashlib.sha1(repr(listed).encode()).hexdigest()
        self.trees[oid] = listed
        return oid

    def _entry(self, name: str, content: str | bytes | tuple[str, str]) -> Entry:
        mode = 0o100644
        if isinstance(content, tuple):
            mode, content = LINK_MODE if content[0] == LINK else SUBMODULE_MODE, content[1]
        data = content.encode() if isinstance(content, str) else content
        oid = hashlib.sha1(data).digest()
        self.blobs[oid.hex()] = data
        return Entry(mode, name.encode(), oid)


def commit(files: Mapping[str, str | bytes | tuple[str, str]]) -> CommitTree:
    return Objects().commit(files)
