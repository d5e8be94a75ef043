"""Ranges of versions, as npm and Masterminds write them, and the highest tag within one. Pure.

The comparisons are semver.org 2.0.0's; ranges are npm's (docs.npmjs.com, "semver": comparators, hyphens, x, ~, ^, ||), read
by `semantic_version.NpmSpec`, and also with Masterminds' commas and spaces after an operator. A prerelease is within a
range only if the range names a prerelease of the very same major.minor.patch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from semantic_version import NpmSpec, Version

LONGEST = 256
TAGS = "refs/tags/"
_NUMBER = r"(?:0|[1-9]\d{0,15})"
_SUFFIX = r"(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
_TAG = re.compile(rf"v?({_NUMBER}\.{_NUMBER}\.{_NUMBER}{_SUFFIX})", re.ASCII)
_PART = rf"(?:[xX*]|{_NUMBER})"
_PARTIAL = rf"v?{_PART}(?:\.{_PART}(?:\.{_PART}{_SUFFIX})?)?"
_OPERATOR = r"(?:>=|<=|>|<|=|\^|~)"
_ALTERNATIVE = re.compile(rf"{_PARTIAL} - {_PARTIAL}|{_OPERATOR}?{_PARTIAL}(?: {_OPERATOR}?{_PARTIAL})*", re.ASCII)
_OPERATOR_SPACE = re.compile(rf"({_OPERATOR})\s+")
EXPECTED = "expected a range of versions, such as >=1.2 <2, ^1.2.3, ~1.2, 1.x or 1.2 - 1.4"


class RangeError(ValueError):
    """It is no range of versions; the message says what is expected."""


_REF = "semver:"
"""No ref can begin so: git-check-ref-format(1) forbids the colon."""


def semver_ref(text: str) -> str:
    """What stands for a ref where a range is followed; a text that is no range stands for itself."""
    try:
        return _REF + normalised(text)
    except RangeError:
        return _REF + text


def range_of(ref: str) -> Range | None:
    """The range that ``ref`` stands for; None if it is a real one (or a commit id)."""
    return Range(ref.removeprefix(_REF)) if ref.startswith(_REF) else None


class Range:
    """A range; its text, as `str`, is normalised: two that differ in spaces only are the same."""

    def __init__(self, text: str) -> None:
        """
        :raises RangeError: ``text`` is no range.
        """
        self._text = normalised(text)
        try:
            self._spec = NpmSpec(self._text)
        except ValueError:
            raise RangeError(EXPECTED) from None

    def __str__(self) -> str:
        return self._text

    def __contains__(self, version: Version) -> bool:
        if version.prerelease and f"{version.major}.{version.minor}.{version.patch}-" not in self._text:
            return False  # the library lets some in through a bound of 0.0.0
        return version in self._spec

    def has_tag(self, ref: str) -> bool:
        """Is the full ref ``ref`` a tag of a version within the range?"""
        version = version_of(ref.removeprefix(TAGS)) if ref.startswith(TAGS) else None
        return version is not None and version in self

    def highest(self, tags: Iterable[str]) -> str | None:
        """The tag of the highest version within the range, None if there is none; tags that are no version are passed
        over. Of two with the same precedence (build metadata, a leading ``v``) always the same one."""
        best: tuple[Version, str] | None = None
        for tag in tags:
            version = version_of(tag)
            if version is None or version not in self:
                continue
            if best is None or (version.truncate("prerelease"), tag) > (best[0].truncate("prerelease"), best[1]):
                best = version, tag
        return best[1] if best else None


def version_of(tag: str) -> Version | None:
    """The version that a tag's short name states: three numbers, with or without a leading ``v``."""
    match = _TAG.fullmatch(tag)
    if match is None:
        return None
    try:
        return Version(match[1])
    except ValueError:  # a numeric identifier of a prerelease with a leading zero
        return None


def normalised(text: str) -> str:
    """The one spelling of a range.

    :raises RangeError: it can't be one.
    """
    if len(text) > LONGEST:
        raise RangeError(f"{EXPECTED}; at most {LONGEST} characters")
    parts = [" ".join(_OPERATOR_SPACE.sub(r"\1", part.replace(",", " ")).split()) for part in text.split("||")]
    if not all(map(_ALTERNATIVE.fullmatch, parts)):
        raise RangeError(EXPECTED)
    return " || ".join(parts)
