"""Fights are slowed to one heal a second, and never more than that."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from workers.watch.fights import BURST, PACE_SECONDS, UNKNOWN, Fights


def fight(fights: Fights, seconds: float, cycle: float, *others: str) -> int:
    """Somebody changes the object ``cycle`` seconds after each heal: how often is it healed?"""
    now = heals = 0
    while True:
        now += cycle + fights.wait("x", now + cycle)
        if now >= seconds:
            return heals
        fights.healing("x", now, others)
        heals += 1


def test_a_few_changes_are_each_undone_at_once() -> None:
    fights = Fights()
    for number in range(BURST):
        assert fights.wait("x", number * 0.01) == 0.0
        fights.healing("x", number * 0.01, ("kubectl-edit",))
    assert fights.wait("x", 0.1) > 0


def test_an_endless_fight_gets_one_heal_a_second_however_long_it_lasts() -> None:
    for seconds in (60, 600):
        assert seconds - 1 <= fight(Fights(), seconds, 0.02, "controller") <= BURST + seconds / PACE_SECONDS + 1


def test_a_slow_opponent_is_never_made_to_wait() -> None:
    fights = Fights()
    fight(fights, 600, 1.5, "controller")
    assert fights.going_on == {}


def test_a_fight_is_news_once_and_names_the_other_manager() -> None:
    fights = Fights()
    news = [fights.healing("x", number * 0.01, ("controller", "someone")) for number in range(30)]
    assert news.count(True) == 1
    assert fights.going_on == {"x": "controller"}


def test_an_opponent_that_only_deletes_has_no_name() -> None:
    fights = Fights()
    for number in range(BURST + 1):
        fights.healing("x", number * 0.01, ())
    assert fights.going_on == {"x": UNKNOWN}


def test_a_fight_that_ended_is_forgotten() -> None:
    fights = Fights()
    fight(fights, 30, 0.02, "controller")
    fights.tidy(31.0)
    assert fights.going_on
    fights.tidy(31.0 + BURST * PACE_SECONDS + 1)
    assert (fights.going_on, fights.quiet) == ({}, True)


def test_fights_about_different_objects_do_not_slow_each_other() -> None:
    fights = Fights()
    fight(fights, 10, 0.02, "controller")
    assert fights.wait("y", 10.0) == 0.0


@settings(deadline=None)
@given(st.lists(st.floats(0, 3), max_size=200))
def test_nobody_ever_waits_longer_than_one_pace(gaps: list[float]) -> None:
    fights, now = Fights(), 0.0
    for gap in gaps:
        now += gap
        wait = fights.wait("x", now)
        assert 0.0 <= wait <= PACE_SECONDS
        now += wait
        fights.healing("x", now, ("controller",))
