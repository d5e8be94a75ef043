"""Which tag is newest, and is it newer than what is there: by version, number, name, age, or whatever came last."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.tag_policy import Candidate, Policy, TagPolicy, violations

SEMVER = Policy(TagPolicy(order="semver"))
STABLE = Policy(TagPolicy(order="semver", range=">=1.2 <2"))
BUILD = Policy(TagPolicy(order="numeric", pattern=r"main-(?P<key>[0-9]+)-[0-9a-f]{7,40}"))
NEWEST = Policy(TagPolicy())
ANY = Policy(TagPolicy(order="any"))


def newest(policy: Policy, *tags: str) -> str | None:
    found = policy.newest(Candidate(tag) for tag in tags)
    return found.tag if found else None


def test_versions_are_ordered_as_versions() -> None:
    assert newest(SEMVER, "1.9.0", "1.10.0", "1.10.0-rc.1", "latest", "1.2") == "1.10.0"


def test_only_versions_within_the_range_count() -> None:
    assert newest(STABLE, "1.1.9", "1.4.2", "2.0.0", "1.5.0-beta.1") == "1.4.2"
    assert newest(STABLE, "2.0.0", "latest") is None


def test_the_patterns_key_is_what_is_ordered() -> None:
    assert (
        newest(BUILD, "main-9-abcdef0", "main-10-1234567", "feature-99-abcdef0", "main-x-abcdef0") == "main-10-1234567"
    )


def test_the_pattern_matches_whole_tags_only() -> None:
    assert newest(BUILD, "main-9-abcdef0-debug") is None
    assert newest(Policy(TagPolicy(order="alphabetical", pattern="v[0-9]")), "v12", "v1") == "v1"


def test_without_a_group_named_key_the_first_group_is_ordered() -> None:
    policy = Policy(TagPolicy(order="alphabetical", pattern="([a-z]+)-.*"))
    assert newest(policy, "b-1", "a-9") == "b-1"


def test_a_group_that_took_no_part_accepts_nothing() -> None:
    assert newest(Policy(TagPolicy(order="numeric", pattern="(?:v([0-9]+)|latest)")), "latest") is None


def test_descending_turns_the_order_around() -> None:
    assert newest(Policy(TagPolicy(order="numeric", descending=True)), "3", "1", "2") == "1"


def test_numbers_may_have_a_fraction_and_any_length() -> None:
    assert (
        newest(Policy(TagPolicy(order="numeric")), "1.9", "1.10", "20260101123456789012345")
        == "20260101123456789012345"
    )


def test_the_newest_is_the_one_that_was_made_last() -> None:
    old, new = Candidate("zzz", created=10.0), Candidate("aaa", created=20.0)
    assert NEWEST.newest([new, old]) == new
    assert not NEWEST.newer(old, new)


def test_any_takes_what_came_last() -> None:
    assert newest(ANY, "2.0.0", "1.0.0") == "1.0.0"
    assert ANY.newer(Candidate("1.0.0"), Candidate("2.0.0"))


@pytest.mark.parametrize("policy", [SEMVER, NEWEST, ANY])
def test_the_same_image_again_is_not_newer(policy: Policy) -> None:
    there = Candidate("1.0.0", "sha256:a", 10.0)
    assert not policy.newer(there._replace(created=20.0), there)
    assert not policy.newer(Candidate("1.0.0", "", 20.0), there)


@pytest.mark.parametrize("policy", [SEMVER, NEWEST, ANY])
def test_a_tag_that_was_pushed_again_is_newer(policy: Policy) -> None:
    assert policy.newer(Candidate("1.0.0", "sha256:b", 20.0), Candidate("1.0.0", "sha256:a", 10.0))


def test_an_older_push_of_the_same_tag_is_not_newer() -> None:
    assert not SEMVER.newer(Candidate("1.0.0", "sha256:a", 10.0), Candidate("1.0.0", "sha256:b", 20.0))


def test_what_is_there_and_not_accepted_gives_way() -> None:
    assert STABLE.newer(Candidate("1.2.0"), Candidate("9.9.9"))
    assert not STABLE.newer(Candidate("9.9.9"), None)


def test_a_hostile_pattern_takes_no_time() -> None:
    assert newest(Policy(TagPolicy(pattern="(a+)+b")), "a" * 128) is None


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (TagPolicy(order="semver", range="not a range"), "range"),
        (TagPolicy(order="numeric", range="1.x"), "range"),
        (TagPolicy(descending=True), "descending"),
        (TagPolicy(pattern="("), "pattern"),
        (TagPolicy(pattern="x" * 501), "pattern"),
        (TagPolicy(pattern="((a{1,500}){1,500}){1,500}"), "pattern"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(spec: TagPolicy, field: str) -> None:
    assert [path for path, _ in violations(spec)] == [(field,)]


tags = st.one_of(
    st.from_regex(r"\A[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(-rc\.[0-9])?\Z"), st.from_regex(r"\A[0-9a-z._-]{1,20}\Z")
)
candidates = st.builds(Candidate, tags, st.sampled_from(["", "sha256:a", "sha256:b"]), st.floats(0, 1e9))
policies = st.sampled_from(
    [
        SEMVER,
        STABLE,
        NEWEST,
        Policy(TagPolicy(order="numeric")),
        Policy(TagPolicy(order="alphabetical", descending=True)),
    ]
)


@given(policies, st.lists(candidates, min_size=1, max_size=5))
def test_the_newest_is_beaten_by_none_whatever_the_order_of_arrival(policy: Policy, found: list[Candidate]) -> None:
    for arrival in itertools.islice(itertools.permutations(found), 24):
        best = policy.newest(arrival)
        assert best is None or not any(policy.newer(other, best) for other in found)
        assert best is not None or not any(policy.accepts(other.tag) for other in found)


@given(policies, candidates, candidates)
def test_two_are_never_both_newer_than_the_other(policy: Policy, one: Candidate, other: Candidate) -> None:
    if policy.accepts(one.tag) and policy.accepts(other.tag):
        assert not (policy.newer(one, other) and policy.newer(other, one))
