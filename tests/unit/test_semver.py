"""Ranges of versions: npm's and Masterminds' own examples, and what holds for any versions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semantic_version import Version

from windlass.semver import Range, RangeError, range_of, semver_ref, version_of


@pytest.mark.parametrize(
    ("text", "within", "outside"),
    [
        # node-semver's README, "Ranges" and "Advanced Range Syntax"
        (">=1.2.7", "1.2.7 1.2.8 2.5.3 1.3.9", "1.2.6 1.1.0"),
        (">=1.2.7 <1.3.0", "1.2.7 1.2.8 1.2.99", "1.2.6 1.3.0 1.1.0"),
        ("1.2.7 || >=1.2.9 <2.0.0", "1.2.7 1.2.9 1.4.6", "1.2.8 2.0.0"),
        (">1.2.3-alpha.3", "1.2.3-alpha.7 3.4.5", "3.4.5-alpha.9"),
        ("1.2.3 - 2.3.4", "1.2.3 2.3.4", "1.2.2 2.3.5"),
        ("1.2 - 2.3.4", "1.2.0", "1.1.9"),
        ("1.2.3 - 2.3", "2.3.9", "2.4.0"),
        ("1.2.3 - 2", "2.9.9", "3.0.0"),
        ("*", "0.0.0 9.9.9", "1.0.0-rc.1"),
        ("1.x", "1.0.0 1.9.9", "2.0.0 0.9.9"),
        ("1.2.x", "1.2.0 1.2.9", "1.3.0"),
        ("1", "1.0.0 1.9.9", "2.0.0"),
        ("~1.2.3", "1.2.3 1.2.9", "1.2.2 1.3.0"),
        ("~1.2", "1.2.0 1.2.9", "1.3.0"),
        ("~1", "1.0.0 1.9.9", "2.0.0"),
        ("~0.2.3", "0.2.3", "0.3.0"),
        ("~1.2.3-beta.2", "1.2.3-beta.4 1.2.4", "1.2.4-beta.2 1.2.3-beta.1"),
        ("^1.2.3", "1.2.3 1.9.9", "1.2.2 2.0.0"),
        ("^0.2.3", "0.2.3 0.2.9", "0.3.0"),
        ("^0.0.3", "0.0.3", "0.0.4"),
        ("^1.2.3-beta.2", "1.2.3-beta.4 1.3.0", "1.2.4-beta.2"),
        ("^0.0.3-beta", "0.0.3-pr.2", "0.0.4"),
        ("^1.2.x", "1.2.0 1.9.0", "2.0.0"),
        ("^0.0", "0.0.9", "0.1.0"),
        ("^0.x", "0.9.9", "1.0.0"),
        # Masterminds/semver's README, "Basic Comparisons" and following
        (">= 1.2, < 3.0.0 || >= 4.2.3", "1.2.0 2.9.9 4.2.3", "3.0.0 4.2.2"),
        (">= 1.2.x", "1.2.0", "1.1.9"),
        ("<= 2.x", "2.9.9", "3.0.0"),
        (">=1.2.3-0", "1.2.3-alpha 1.2.3", "1.2.2"),
        ("=1.2.3", "1.2.3 1.2.3+build.5", "1.2.4"),
    ],
)
def test_a_range_is_npms(text: str, within: str, outside: str) -> None:
    found = Range(text)
    assert [version for version in within.split() if Version(version) not in found] == []
    assert [version for version in outside.split() if Version(version) in found] == []


@pytest.mark.parametrize(
    "text",
    ["", " ", "latest", "^x", "main", "1.2.3.4", "01.2.3", ">=", "|| 1", "1 ||", "1 - 2 - 3", ">1 - 2", "1.2.3-", "!=1",
     "1.2.3-01", "~> 1.2", "1;2", "9" * 300, "1" * 40, "refs/tags/v1"],
)  # fmt: skip
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(RangeError, match="expected a range of versions"):
        Range(text)


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("v1.2.3", "1.2.3"),
        ("1.2.3-rc.1+build.5", "1.2.3-rc.1+build.5"),
        ("v1.2", None),
        ("V1.2.3", None),
        ("release-1.2.3", None),
        ("1.2.3-01", None),
        ("1.2.3/x", None),
        ("\u0661.2.3", None),
        ("1.2." + "9" * 5000, None),
    ],
)
def test_a_tag_is_a_version_only_if_it_is_a_whole_one(tag: str, version: str | None) -> None:
    assert version_of(tag) == (Version(version) if version else None)


def test_the_highest_is_by_precedence_and_not_by_text() -> None:
    tags = ["v1.2.9", "v1.10.0", "v1.9.0", "nightly", "v2.0.0", "v1.11.0-rc.1"]
    assert Range("1.x").highest(tags) == "v1.10.0"
    assert Range(">=1.11.0-rc.0 <2").highest(tags) == "v1.11.0-rc.1"
    assert Range(">=3").highest(tags) is None


def test_ranges_that_differ_in_spaces_only_are_one_source() -> None:
    assert semver_ref(">= 1.2,  <2") == semver_ref(">=1.2 <2") == "semver:>=1.2 <2"
    assert str(range_of(semver_ref("^1 ||~2"))) == "^1 || ~2"
    assert range_of("refs/tags/v1") is None


def test_a_pushed_tag_is_asked_for_only_within_the_range() -> None:
    found = Range(">=1.2 <2")
    assert found.has_tag("refs/tags/v1.3.0")
    assert not any(map(found.has_tag, ("refs/tags/v2.0.0", "refs/heads/v1.3.0", "refs/tags/v1.3.0-rc.1", "v1.3.0")))


NUMBERS = st.integers(0, 4)
PRE = st.sampled_from(["", "-alpha", "-alpha.1", "-beta.2", "-rc.10", "-0"])
VERSIONS = st.builds(lambda a, b, c, p: f"{a}.{b}.{c}{p}", NUMBERS, NUMBERS, NUMBERS, PRE)
COMPARATORS = st.builds(
    lambda op, version: f"{op}{version}", st.sampled_from([">=", ">", "<", "<=", "^", "~", ""]), VERSIONS
)
RANGES = st.lists(st.lists(COMPARATORS, min_size=1, max_size=3).map(" ".join), min_size=1, max_size=3).map(" || ".join)


@given(RANGES, st.lists(VERSIONS, max_size=12), st.randoms())
def test_the_highest_is_within_and_no_other_is_higher_whatever_the_order(
    text: str, tags: list[str], order: object
) -> None:
    found = Range(text)
    best = found.highest(tags)
    order.shuffle(tags)  # type: ignore[attr-defined]
    assert found.highest(tags) == best
    within = [Version(tag) for tag in tags if Version(tag) in found]
    assert (best is None) == (not within)
    if best is not None:
        assert Version(best) == max(within)


@given(RANGES, st.lists(VERSIONS, max_size=12), VERSIONS)
def test_one_more_tag_never_lowers_the_highest(text: str, tags: list[str], more: str) -> None:
    before, after = Range(text).highest(tags), Range(text).highest([*tags, more])
    assert before is None or (after is not None and Version(after) >= Version(before))


@given(RANGES, VERSIONS)
def test_a_prerelease_is_within_only_where_one_of_its_own_version_is_named(text: str, tag: str) -> None:
    version = Version(tag)
    if version.prerelease and version in Range(text):
        assert f"{version.major}.{version.minor}.{version.patch}-" in text


@given(COMPARATORS, st.lists(VERSIONS, min_size=3, max_size=3))
def test_what_lies_between_two_versions_within_a_comparator_is_within(text: str, tags: list[str]) -> None:
    low, middle, high = sorted(Version(tag) for tag in tags)
    if low in Range(text) and high in Range(text) and not middle.prerelease:
        assert middle in Range(text)


@given(st.text(max_size=40) | st.text("0123456789.xX*<>=^~|- v,", max_size=40))
def test_any_text_is_a_range_or_refused(text: str) -> None:
    try:
        made = Range(text)
    except RangeError:
        return
    assert str(Range(str(made))) == str(made)
