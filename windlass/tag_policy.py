"""Which of an image's tags is the newest, by a rule that the document gives. Pure: no registry is asked here.

What must hold: the order is total and the same on every machine, so that ten images in a second end at one; a tag that the
policy doesn't accept is never chosen; a pattern is matched in time linear in the tag (RE2), whatever the pattern is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import re2

from windlass.documents.base import Strict
from windlass.semver import Range, RangeError, version_of
from windlass.yamls import Path

Order = Literal["semver", "numeric", "alphabetical", "newest", "any"]

LONGEST_PATTERN = 500
PATTERN_MEMORY = 1 << 20
"""Bytes that a compiled pattern may take."""
_NUMBER = re.compile(r"[0-9]{1,64}(\.[0-9]{1,64})?", re.ASCII)


class TagPolicy(Strict, frozen=True):
    """Which tags count, and by what they are ordered.

    ``pattern`` must match a whole tag (RE2); what is ordered is its group ``key``, else its first group, else the tag.
    """

    order: Order = "newest"
    range: str | None = None  # with semver: only versions within it
    pattern: str | None = None
    descending: bool = False  # with numeric and alphabetical: the lowest is the newest


class Candidate(NamedTuple):
    """A published image: ``created`` in seconds since the epoch, 0 where nobody knows; ``digest`` may be ""."""

    tag: str
    digest: str = ""
    created: float = 0.0


class Policy:
    """A `TagPolicy` that has no violation, ready to judge."""

    def __init__(self, spec: TagPolicy) -> None:
        self._spec = spec
        self._pattern = _compiled(spec.pattern) if spec.pattern is not None else None
        self._range = Range(spec.range) if spec.range is not None else None

    def accepts(self, tag: str) -> bool:
        """May this tag be promoted at all?"""
        return self._key(Candidate(tag)) is not None

    def newest(self, candidates: Iterable[Candidate]) -> Candidate | None:
        """The newest of those that the policy accepts; of equals the one that came last."""
        best: Candidate | None = None
        for candidate in candidates:
            if self.accepts(candidate.tag) and (best is None or self._compare(candidate, best) >= 0):
                best = candidate
        return best

    def newer(self, candidate: Candidate, present: Candidate | None) -> bool:
        """Does ``candidate`` take the place of ``present``? What is there and isn't accepted gives way to anything that is."""
        if not self.accepts(candidate.tag):
            return False
        if present is None or not self.accepts(present.tag):
            return True
        if candidate.tag == present.tag and (not candidate.digest or candidate.digest == present.digest):
            return False  # the same image once more
        return self._compare(candidate, present) > 0

    def _compare(self, left: Candidate, right: Candidate) -> int:
        """Positive where ``left`` is newer. Tags of one rank (a tag that was pushed again, too) go by their age."""
        if self._spec.order == "any":
            return int(left != right)  # what is heard last counts
        mine, other = self._key(left), self._key(right)
        if mine == other:
            mine, other = left.created, right.created
        elif self._spec.descending:
            mine, other = other, mine
        return int(mine > other) - int(mine < other)

    def _key(self, candidate: Candidate) -> Any:
        """What the tag is ordered by; None if the policy doesn't accept it."""
        text = self._text(candidate.tag)
        if text is None:
            return None
        if self._spec.order == "semver":
            version = version_of(text)
            if version is None or (self._range is not None and version not in self._range):
                return None
            return version.truncate("prerelease")
        if self._spec.order == "numeric":
            return Decimal(text) if _NUMBER.fullmatch(text) else None
        return text if self._spec.order == "alphabetical" else ""

    def _text(self, tag: str) -> str | None:
        if self._pattern is None:
            return tag
        match = self._pattern.fullmatch(tag)
        if match is None:
            return None
        if not self._pattern.groups:
            return tag
        found: str | None = match.group("key" if "key" in self._pattern.groupindex else 1)
        return found


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    """:raises re2.error: it is no pattern, or a huge one."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = PATTERN_MEMORY
    return re2.compile(pattern, options)


def violations(spec: TagPolicy) -> Iterator[tuple[Path, str]]:
    """What is wrong with a policy: (path below ``policy``, message)."""
    if spec.range is not None:
        if spec.order != "semver":
            yield ("range",), "goes with order: semver only"
        try:
            Range(spec.range)
        except RangeError as error:
            yield ("range",), str(error)
    if spec.descending and spec.order not in ("numeric", "alphabetical"):
        yield ("descending",), "goes with order: numeric and order: alphabetical only"
    if spec.pattern is not None:
        if len(spec.pattern) > LONGEST_PATTERN:
            yield ("pattern",), f"expected at most {LONGEST_PATTERN} characters"
            return
        try:
            _compiled(spec.pattern)
        except re2.error as error:
            reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else error
            yield ("pattern",), f"expected a regular expression (RE2): {reason}"
