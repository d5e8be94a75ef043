"""Which applications a commit touches: found by the diff, a step down the tree for each changed file, whatever their number.

An application of plain manifests follows the folder that it names. A rendered one follows exactly what its last render read,
wherever that is in the repository: bases, values files and components of other folders, and what was looked for in vain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from windlass.documents.types import Application
from workers.aiogit import GitRepository
from workers.slices import sliced

Inputs = Mapping[str, str]
"""Path -> the object id of the file or folder that a render read there, "" for what was not there."""


def load_inputs(text: str) -> dict[int, Inputs]:
    """The inputs as an application's state keeps them, by the source's place."""
    return dict(msgspec.json.decode(text, type=dict[int, dict[str, str]])) if text else {}


class Followed:
    """The paths that the applications of one source follow."""

    def __init__(
        self, source: str, applications: Iterable[Application], inputs: Mapping[str, Mapping[int, Inputs]]
    ) -> None:
        """``inputs``: by application and place in its sources, what its last render read; none for plain manifests."""
        self._by_path: dict[str, list[str]] = {}
        for application in applications:
            for path in paths(source, application, inputs.get(application.name, {})):
                self._by_path.setdefault(path, []).append(application.name)

    async def touched(self, repository: GitRepository, old: str, new: str) -> set[str]:
        """The applications that read something in which the two commits differ."""
        if repository.tree_id(old, "") == repository.tree_id(new, ""):
            return set()
        found: set[str] = set()
        seen: set[str] = set()
        async for change in sliced(repository.iter_diff(old, new, "")):
            path = change.path
            while path not in seen:
                seen.add(path)
                found.update(self._by_path.get(path, ()))
                path = path.rpartition("/")[0]
        return found


def paths(source: str, application: Application, inputs: Mapping[int, Inputs]) -> set[str]:
    """The paths of ``source`` that ``application`` follows."""
    found: set[str] = set()
    for place, one in enumerate(application.spec.sources):
        if one.id == source:
            found.update(inputs.get(place) or (one.path,))
    return found


def same(repository: GitRepository, old: str, new: str, followed: Iterable[str]) -> bool:
    """Do two commits hold the same at every one of these paths?"""
    return all(repository.object_id(old, path) == repository.object_id(new, path) for path in followed)
