"""Suspects wait for their turn, and an event that comes meanwhile is not lost."""

from __future__ import annotations

import time

from workers.watch.suspects import LONGEST_RETRY, NAMED, Suspects


def test_a_suspect_is_due_when_its_delay_is_over_and_the_longest_waiting_first() -> None:
    suspects = Suspects()
    suspects.add("b", 10.0, 2.0)
    suspects.add("a", 11.0)
    assert [suspect.key for suspect in suspects.due(11.0, 9)] == ["a"]
    assert [suspect.key for suspect in suspects.due(12.0, 9)] == ["a", "b"]
    assert [suspect.key for suspect in suspects.due(12.0, 1)] == ["a"]


def test_what_was_decided_before_an_event_settles_nothing_after_it() -> None:
    suspects = Suspects()
    suspects.add("a", 0.0)
    (suspect,) = suspects.due(0.0, 9)
    suspects.add("a", 0.1, others=("kubectl-edit",))
    suspects.clear(suspect)
    assert [(again.key, again.others) for again in suspects.due(1.0, 9)] == [("a", ("kubectl-edit",))]


def test_a_pause_ends_when_the_run_does() -> None:
    suspects = Suspects()
    suspects.add("a", 0.0)
    suspects.pause(100.0)
    assert suspects.due(50.0, 9) == []
    suspects.look_now(51.0)
    assert len(suspects.due(51.0, 9)) == 1


def test_what_can_not_be_settled_is_looked_at_ever_more_rarely_but_never_after_minutes() -> None:
    suspects = Suspects()
    suspects.add("a", time.monotonic())
    for _ in range(12):
        (suspect,) = suspects.due(time.monotonic() + LONGEST_RETRY, 9)
        suspects.later(suspect, 1.0)
    assert suspects.due(time.monotonic(), 9) == []
    assert len(suspects.due(time.monotonic() + LONGEST_RETRY, 9)) == 1


def test_an_event_ends_the_wait_for_a_retry() -> None:
    suspects = Suspects()
    now = time.monotonic()
    suspects.add("a", now)
    suspects.later(suspects.due(now, 9)[0], 8.0)
    suspects.add("a", now)
    assert len(suspects.due(now, 9)) == 1


def test_what_is_found_is_news_once_named_up_to_a_hundred_and_cleared_when_it_is_equal() -> None:
    suspects = Suspects()
    for number in range(NAMED + 20):
        suspects.add(f"o{number:03d}", 0.0)
    news = [suspects.found(suspect, "changed") for suspect in suspects.due(0.0, 1000)]
    assert all(news)
    drift = suspects.drift()
    assert (drift.count, len(drift.objects)) == (NAMED + 20, NAMED)
    assert suspects.settled
    suspects.add("o000", 1.0)
    suspects.clear(suspects.due(1.0, 9)[0])
    assert suspects.drift().count == NAMED + 19
