"""What a forge is told of a commit."""

from __future__ import annotations

import pytest

from windlass.health import DEGRADED, HEALTHY, PROGRESSING, HealthState, ObjectHealth
from workers.commit_status import LONGEST, Report, Standing, describe

APPLIED = Report("Synced", seconds=0.08, at=100.0)
PLAIN = HealthState(HEALTHY, reached=90.0)
ROLLED_OUT = HealthState(HEALTHY, objects=2, current=2, reached=112.4)
NO_ROOM = "Deployment.apps/shop/web: Unschedulable: 0/2 nodes are available"
WHY = {"Deployment.apps/shop/web": ObjectHealth("InProgress", "Unschedulable", "0/2 nodes are available")}
ON_ITS_WAY = HealthState(PROGRESSING, objects=5, current=2, unhealthy=WHY)
BROKEN = HealthState(DEGRADED, objects=5, current=4, unhealthy=WHY)


@pytest.mark.parametrize(
    ("standing", "said"),
    [
        (Standing(Report("Syncing")), ("pending", "0 of 1 application applied")),
        (Standing(Report("Waiting")), ("pending", "0 of 1 application applied")),
        (Standing(Report("Superseded")), ("pending", "0 of 1 application applied")),
        (Standing(APPLIED, PLAIN), ("success", "1 application applied in 80 ms")),
        (Standing(APPLIED, ROLLED_OUT), ("success", "1 application applied in 80 ms, healthy after 12.4 s")),
        (Standing(APPLIED), ("pending", "1 application applied in 80 ms, not healthy yet")),
        (
            Standing(APPLIED, ON_ITS_WAY),
            ("pending", f"1 application applied in 80 ms, 2 of 5 objects healthy: {NO_ROOM}"),
        ),
        (
            Standing(APPLIED, BROKEN),
            ("failure", f"shop: {NO_ROOM}"),
        ),
        (Standing(Report("Failed", errors=["a", "b"]), PLAIN), ("failure", "shop: a (+1 more)")),
        (Standing(Report("Retrying"), PLAIN), ("failure", "shop: failed")),
    ],
)
def test_of_one_application(standing: Standing, said: tuple[str, str]) -> None:
    assert describe({"shop": standing}) == said


def test_a_commit_that_was_healthy_stays_a_success_while_pods_move() -> None:
    moving = HealthState(PROGRESSING, objects=1, reached=101.0, unhealthy=WHY)
    assert describe({"shop": Standing(APPLIED, moving)})[0] == "success"
    degraded = HealthState(DEGRADED, objects=1, reached=101.0, unhealthy=WHY)
    assert describe({"shop": Standing(APPLIED, degraded)})[0] == "failure"


@pytest.mark.parametrize(
    ("standing", "state"),
    [
        (Standing(Report("Superseded"), by="c0ffee1234567"), "error"),
        (Standing(Report("Syncing"), by="c0ffee1234567"), "error"),
        (Standing(APPLIED, ON_ITS_WAY, by="c0ffee1234567"), "error"),
        (Standing(APPLIED, ROLLED_OUT, by="c0ffee1234567"), "success"),
        (Standing(APPLIED, BROKEN, by="c0ffee1234567"), "failure"),
        (Standing(Report("Failed", errors=["no"]), PLAIN, by="c0ffee1234567"), "failure"),
    ],
)
def test_a_commit_whose_place_another_took_is_not_waited_for(standing: Standing, state: str) -> None:
    said = describe({"shop": standing})
    assert said[0] == state
    if state == "error":
        assert said[1] == "superseded by c0ffee1234 before it was healthy"


def test_who_waits_for_a_persons_word_keeps_no_commit_pending() -> None:
    asks = Standing(Report("OutOfSync"), PLAIN)
    assert describe({"shop": asks}) == ("success", "1 application to be asked for: `windlass sync shop`")
    both = {"by-hand": asks, "shop": Standing(APPLIED, PLAIN)}
    assert describe(both) == (
        "success",
        "1 application applied in 80 ms; 1 application to be asked for: `windlass sync by-hand`",
    )
    assert describe({**both, "worst": Standing(APPLIED, BROKEN)})[0] == "failure"


def test_of_several_the_worst_counts() -> None:
    good, waits, bad = Standing(APPLIED, ROLLED_OUT), Standing(APPLIED, ON_ITS_WAY), Standing(APPLIED, BROKEN)
    gone = Standing(Report("Superseded"), by="c0ffee1234567")
    assert describe({"a": good, "b": good})[0] == "success"
    assert describe({"a": good, "b": gone})[0] == "error"
    assert describe({"a": waits, "b": gone, "c": good}) == (
        "pending",
        describe({"a": waits, "b": gone, "c": good})[1],
    )
    assert describe({"a": good, "b": bad, "c": waits})[1].startswith("b: ")


def test_a_source_that_could_not_be_read_fails_and_no_application_is_none_to_wait_for() -> None:
    assert describe({"source r-main": Standing(Report("Failed", errors=["the commit is not signed"]))}) == (
        "failure",
        "source r-main: the commit is not signed",
    )
    assert describe({}) == ("success", "nothing that is applied differs")


def test_no_line_is_longer_than_a_forge_takes() -> None:
    long = {"Deployment.apps/shop/web": ObjectHealth("Failed", "Reason", "x" * 500)}
    for status in (PROGRESSING, DEGRADED):
        state = HealthState(status, objects=1, unhealthy=long)
        assert len(describe({"shop": Standing(APPLIED, state)})[1]) == LONGEST
