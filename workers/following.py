"""What a source follows on the server: one ref, or the tag of the highest version within a range.

What must hold: one question finds out, however many tags there are; a tag that is shown but is not the highest (a fix for an
older line) is no sign of a replica that lags.
"""

from __future__ import annotations

from typing import Protocol

from windlass.semver import TAGS, Range, range_of


class Remote(Protocol):
    """What this module needs of `workers.aiogit.GitRepository`."""

    async def refs(self, *wanted: str) -> dict[str, str]: ...
    def has(self, commit: str) -> bool: ...
    def is_ancestor(self, ancestor: str, descendant: str) -> bool: ...


class Following:
    """A repository as one source sees it; see `workers.tip.History`. ``ref``: the real ref that was at the tip last."""

    def __init__(self, repository: Remote, followed: str) -> None:
        self._repository = repository
        self._range = range_of(followed)
        self.ref = followed
        self._shown: frozenset[str] = frozenset()

    async def tip(self) -> str | None:
        """The commit to follow now; None when the ref, or a version within the range, does not exist."""
        if self._range is None:
            commit = (await self._repository.refs(self.ref)).get(self.ref)
            self._shown = frozenset((commit,)) if commit is not None else frozenset()
            return commit
        refs = await self._repository.refs(TAGS)
        self._shown = frozenset(refs.values())
        found = highest(self._range, refs)
        if found is None:
            return None
        self.ref, commit = found
        return commit

    def shows(self, commit: str) -> bool:
        """Was ``commit`` at a ref that the server showed last?"""
        return commit in self._shown

    def has(self, commit: str) -> bool:
        return self._repository.has(commit)

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        return self._repository.is_ancestor(ancestor, descendant)


def highest(versions: Range, refs: dict[str, str]) -> tuple[str, str] | None:
    """The tag (its full ref) of the highest version within the range, and its commit."""
    tags = {ref.removeprefix(TAGS): ref for ref in refs if ref.startswith(TAGS)}
    tag = versions.highest(tags)
    return (tags[tag], refs[tags[tag]]) if tag is not None else None


def followed_commit(followed: str, refs: dict[str, str]) -> str | None:
    """The commit that a source follows, by what the server showed; see `asked`."""
    versions = range_of(followed)
    if versions is None:
        return refs.get(followed)
    found = highest(versions, refs)
    return found[1] if found is not None else None


def asked(followed: str) -> str:
    """What to ask a server for, to know where ``followed`` is."""
    return TAGS if range_of(followed) is not None else followed
