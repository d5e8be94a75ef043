"""Which open pull requests are looked at again: after a push to their base, and after a webhook that never arrived."""

from __future__ import annotations

from windlass.forges.pulls import PullRequest
from windlass.queue.previews import Told
from workers.preview.again import missed, stale

MAIN = "refs/heads/main"


def pull(number: int, commit: str, base: str = "main") -> PullRequest:
    return PullRequest(number, "", "open", "head", base, "", "", commit)


def test_a_push_concerns_those_into_its_branch_that_touch_an_application_that_it_changed() -> None:
    known = {
        1: Told("main", "a", ("shop",)),
        2: Told("main", "b", ("bank", "mill")),
        3: Told("staging", "c", ("shop",)),
        4: Told("main", "d"),
    }
    assert stale(known, MAIN, {"shop", "mill"}) == [1, 2]


def test_one_that_conflicted_may_no_longer_do_so() -> None:
    assert stale({1: Told("main", "a", conflicts=True)}, MAIN, {"shop"}) == [1]


def test_missed_are_those_of_which_nothing_was_told_and_those_of_another_head_or_base() -> None:
    known = {1: Told("main", "a"), 2: Told("main", "b"), 3: Told("staging", "c")}
    assert missed(known, [pull(1, "a"), pull(2, "newer"), pull(3, "c"), pull(4, "d")]) == [2, 3, 4]
