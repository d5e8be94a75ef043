"""Which objects are read for their health, and when; and what follows for the application."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.health import DEGRADED, HEALTHY, PROGRESSING, HealthState
from windlass.state import RunRecord
from workers.health import Health, Status
from workers.health.status import CURRENT, failed, in_progress
from workers.kube.keys import ObjectKey
from workers.watch.checks import ASK_WHY_AFTER, LONGEST_LOOK, PACE, SETTLED_PACE, Checks
from workers.watch.tell import told

WEB, DB = (ObjectKey("apps", "Deployment", "shop", name) for name in ("web", "db"))
LIMIT = 300.0
WAITING = in_progress("TooFew", "0 of 1 replicas are ready")


def read(checks: Checks, key: ObjectKey, health: Health, now: float, version: str = "1") -> None:
    checks.found(key, health, version, now, now)


def followed(*found: Health, at: float = 0.0) -> Checks:
    """Objects that a run wrote, and how they were found then."""
    checks = Checks(LIMIT)
    checks.written((WEB, DB)[: len(found)], at)
    for key, health in zip((WEB, DB), found, strict=False):
        read(checks, key, health, at)
    return checks


def state(checks: Checks, now: float) -> HealthState:
    found = checks.state(now, 0.0)
    assert found is not None
    return found


def test_an_application_without_such_objects_is_healthy() -> None:
    assert state(Checks(LIMIT), 0).status == HEALTHY


def test_what_was_written_is_read_at_once_and_nothing_is_said_before() -> None:
    checks = followed(CURRENT, CURRENT)
    assert state(checks, 1).status == HEALTHY
    checks.written([WEB], 2)
    assert checks.due(2, 10) == [WEB]
    assert checks.state(2, 0.0) is None


def test_a_reading_that_was_asked_for_before_the_write_says_nothing_about_it() -> None:
    checks = followed(CURRENT)
    checks.written([WEB], 2)
    checks.found(WEB, CURRENT, "1", 1.9, 2.1)
    assert checks.due(2.1, 10) == [WEB]
    assert checks.state(2.1, 0.0) is None


def test_an_event_that_the_last_reading_has_seen_costs_nothing() -> None:
    checks = followed(CURRENT)
    read(checks, WEB, CURRENT, 1, "7")
    for version in ("6", "7"):
        checks.saw(WEB, version, 20)
    assert checks.idle


def test_however_often_a_healthy_object_flaps_it_is_read_once_in_a_while() -> None:
    checks, reads = followed(CURRENT), 0
    for tick in range(1000):
        now = tick / 10
        checks.saw(WEB, str(tick + 2), now)
        for key in checks.due(now, 10):
            reads += 1
            read(checks, key, CURRENT, now, str(tick + 2))
    assert reads <= 100 / SETTLED_PACE + 1


def test_what_is_on_its_way_is_read_more_often() -> None:
    checks = followed(WAITING)
    checks.saw(WEB, "2", 0.1)
    assert checks.due(PACE - 0.1, 10) == []
    assert checks.due(PACE, 10) == [WEB]


def test_what_is_not_healthy_is_read_again_without_any_event_ever_more_seldom() -> None:
    checks, now, times = followed(WAITING), 0.0, []
    while now < 2000:
        now += 0.5
        if checks.due(now, 10):
            times.append(now)
            read(checks, WEB, WAITING, now)
    pauses = [b - a for a, b in zip([0.0, *times], times, strict=False)]
    assert pauses[0] == ASK_WHY_AFTER
    assert max(pauses) <= LONGEST_LOOK
    assert LIMIT in times
    assert len(times) < 60


def test_on_its_way_is_progressing_and_after_its_time_degraded() -> None:
    checks = followed(CURRENT, WAITING)
    found = state(checks, LIMIT - 1)
    assert (found.status, found.objects, found.current, found.unsettled) == (PROGRESSING, 2, 1, 0.0)
    assert found.why == f"{DB}: TooFew: 0 of 1 replicas are ready"
    assert state(checks, LIMIT).status == DEGRADED


def test_failed_is_degraded_at_once_and_named_before_what_is_on_its_way() -> None:
    checks = followed(WAITING, failed("ProgressDeadlineExceeded", "no progress"))
    found = state(checks, 1)
    assert found.status == DEGRADED
    assert list(found.unhealthy) == [str(DB), str(WEB)]


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("CrashLoopBackOff: container c: it ended with exit code 1 (3 restarts) (pod web-1)", DEGRADED),
        ("ImagePullBackOff: container c: Back-off pulling image (pod web-1)", DEGRADED),
        ("Unschedulable: 0/2 nodes are available (pod web-1)", PROGRESSING),
        ("FailedCreate: exceeded quota: few", PROGRESSING),
    ],
)
def test_the_pods_reason_is_the_objects_and_some_are_beyond_hope(said: str, status: str) -> None:
    checks = followed(WAITING)
    assert not checks.wants_why(WEB, WAITING, ASK_WHY_AFTER - 1)
    assert checks.wants_why(WEB, WAITING, ASK_WHY_AFTER)
    checks.why(WEB, said, ASK_WHY_AFTER)
    assert not checks.wants_why(WEB, WAITING, ASK_WHY_AFTER + 1)
    found = state(checks, ASK_WHY_AFTER)
    reason, _, message = said.partition(": ")
    assert found.status == status
    assert (found.unhealthy[str(WEB)].reason, found.unhealthy[str(WEB)].message) == (reason, message)


def test_healthy_again_forgets_why_it_was_not() -> None:
    checks = followed(WAITING)
    checks.why(WEB, "Unschedulable: no", 6)
    read(checks, WEB, CURRENT, 7)
    assert state(checks, 7).unhealthy == {}
    read(checks, WEB, WAITING, 500)
    found = state(checks, 500)
    assert (found.status, found.unhealthy[str(WEB)].reason) == (PROGRESSING, "TooFew")


def test_what_is_gone_is_looked_for_again_when_a_run_is_over() -> None:
    checks = followed(CURRENT)
    checks.saw(WEB, "", 10)
    assert checks.due(10.1, 10) == [WEB]
    read(checks, WEB, in_progress("NotFound", "it isn't there"), 10.1, "")
    assert checks.due(10.2, 10) == []
    checks.look_for_missing(10.2)
    assert checks.due(10.2, 10) == [WEB]
    checks.remove(WEB)
    assert state(checks, 10.3) == state(Checks(LIMIT), 10.3)


def taken_over(seen: str, versions: dict[ObjectKey, str]) -> tuple[Checks, bool]:
    """What the next watcher makes of the versions in its first lists."""
    checks = Checks(LIMIT)
    checks.expect(versions, 0, trust=30)
    assert checks.due(1, 10) == []
    for key, version in versions.items():
        checks.saw(key, version, 1)
    return checks, checks.settle(seen, 2)


@given(st.permutations([WEB, DB]), st.sampled_from([None, WEB, DB]))
def test_who_takes_over_reads_nothing_if_nothing_happened_and_else_all(
    order: list[ObjectKey], other: ObjectKey
) -> None:
    before = followed(CURRENT, CURRENT)
    read(before, WEB, CURRENT, 1, "17")
    versions = {WEB: "17", DB: "1"}
    if other:
        versions[other] += "0"
    checks, same = taken_over(before.seen, {key: versions[key] for key in order})
    assert same == (other is None)
    assert sorted(checks.due(2, 10)) == ([] if same else sorted(order))
    assert (checks.state(2, 0.0) is not None) == same


def test_an_object_that_may_not_be_read_is_unknown_and_says_so() -> None:
    checks = followed(CURRENT)
    checks.unreadable(WEB, "403 Forbidden", 5, 5)
    found = state(checks, 5)
    assert found.status == PROGRESSING
    assert "403 Forbidden" in found.why
    assert checks.of(WEB) == Health(Status.UNKNOWN, "Unreadable", "403 Forbidden")


def record(phase: str = "Synced", health: str = "") -> bytes:
    return msgspec.json.encode(
        RunRecord("e", "c", phase, started=100.0, durations={"total": 500.0, "apply": 20.0}, health=health)
    )


def test_a_runs_record_says_after_which_time_it_was_healthy() -> None:
    found = msgspec.json.decode(told(record(), HealthState(HEALTHY, reached=103.0)), type=RunRecord)
    assert found.health == HEALTHY
    assert found.durations == {"total": 500.0, "apply": 20.0, "healthy": 2500.0}


@pytest.mark.parametrize("raw", [b"", b"{", record("Waiting"), record("Superseded"), record(health=HEALTHY)])
def test_a_record_that_is_not_of_it_stays_as_it_is(raw: bytes) -> None:
    assert told(raw, HealthState(DEGRADED)) == raw
