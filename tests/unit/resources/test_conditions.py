"""What a status says of what is known: kstatus' conditions, Ready only when all that was asked for is applied and healthy."""

from __future__ import annotations

from typing import Any

import pytest

from windlass.documents.status import ResourceStatus
from windlass.health import DEGRADED, HEALTHY, PROGRESSING, HealthState, ObjectHealth
from windlass.state import ApplicationState, Drift, RunRecord, Standing
from workers.resources import conditions
from workers.resources.conditions import Verdict, of_application

COMMIT = "0123456789" * 4


def state(phase: str = "Synced", health: str = HEALTHY, **more: Any) -> ApplicationState:
    unhealthy = (
        {"Deployment.apps shop/web": ObjectHealth("Failed", "CrashLoopBackOff", "it exits")}
        if health == DEGRADED
        else {}
    )
    return ApplicationState("shop", phase, COMMIT, health=HealthState(health, unhealthy=unhealthy), **more)


def record(phase: str, *errors: str) -> RunRecord:
    return RunRecord(event="e", revision=COMMIT, phase=phase, started=0.0, errors=list(errors))


def flags(verdict: Verdict) -> tuple[str, bool, bool]:
    return verdict.ready, verdict.reconciling, verdict.stalled


@pytest.mark.parametrize(
    ("known", "said", "reason"),
    [
        (state(), ("True", False, False), "Synced"),
        (state("Held"), ("True", False, False), "Held"),
        (state(health=PROGRESSING), ("Unknown", True, False), "Progressing"),
        (state(health=""), ("Unknown", True, False), "Progressing"),
        (state(health=DEGRADED), ("False", False, True), "Degraded"),
        (state("Syncing"), ("False", True, False), "Syncing"),
        (state("Waiting", standing=Standing(why="db is not healthy")), ("False", True, False), "Waiting"),
        (state("Retrying", last=record("Retrying", "a.yaml: no")), ("False", True, False), "Retrying"),
        (state("Failed", last=record("Failed", "a.yaml: no")), ("False", False, True), "Failed"),
        (state("RolledBack"), ("False", False, True), "RolledBack"),
        (state("OutOfSync"), ("False", False, False), "OutOfSync"),
        (ApplicationState("shop"), ("False", True, False), "Progressing"),
    ],
)
def test_what_the_conditions_say_of_a_phase(known: ApplicationState, said: tuple[str, bool, bool], reason: str) -> None:
    verdict = of_application(known, current=True, trouble="")
    assert (flags(verdict), verdict.reason) == (said, reason)
    assert verdict.message


def test_what_was_applied_by_an_earlier_document_makes_nothing_ready() -> None:
    assert flags(of_application(state(), current=False, trouble="")) == ("False", True, False)


def test_a_source_that_cant_be_followed_makes_nothing_ready() -> None:
    verdict = of_application(state(), current=True, trouble="the repository refuses the token")
    assert (verdict.reason, verdict.message) == ("SourceFailed", "the repository refuses the token")
    assert flags(verdict) == ("False", True, False)


def test_the_message_says_why() -> None:
    failed = of_application(
        state("Failed", last=record("Failed", "a.yaml: no", "b.yaml: no")), current=True, trouble=""
    )
    assert failed.message == "a.yaml: no; b.yaml: no"
    degraded = of_application(state(health=DEGRADED), current=True, trouble="")
    assert degraded.message == "Deployment.apps shop/web: CrashLoopBackOff: it exits"
    assert conditions.application_status(state(drift=Drift(count=3))).message == "3 objects differ from Git"
    assert conditions.application_status(state()).message is None


def made(verdict: Verdict, before: dict[str, Any], now: float, generation: int = 1) -> dict[str, Any]:
    return conditions.with_conditions(
        ResourceStatus(), verdict, generation=generation, name=None, before=before, now=now
    )


def test_a_condition_keeps_its_time_until_its_status_is_another() -> None:
    first = made(conditions.invalid(["one"]), {}, 0.0)
    second = made(conditions.invalid(["two"]), first, 60.0)
    third = made(conditions.VALID, second, 120.0, generation=2)
    times = [
        {one["type"]: one["lastTransitionTime"] for one in status["conditions"]} for status in (first, second, third)
    ]
    assert times[0] == times[1] == dict.fromkeys(("Ready", "Reconciling", "Stalled"), "1970-01-01T00:00:00Z")
    assert times[2] == {
        "Ready": "1970-01-01T00:02:00Z",
        "Reconciling": "1970-01-01T00:00:00Z",
        "Stalled": "1970-01-01T00:02:00Z",
    }
    assert third["observedGeneration"] == 2


def test_a_status_is_the_same_in_whatever_order_its_conditions_come() -> None:
    status = made(conditions.VALID, {}, 0.0)
    turned = {**status, "conditions": list(reversed(status["conditions"]))}
    assert conditions.same(status, turned)
    assert not conditions.same(status, made(conditions.invalid(["x"]), {}, 0.0))
    assert not conditions.same(status, {})


def test_a_message_fits() -> None:
    status = made(conditions.invalid(["x" * 5000]), {}, 0.0)
    assert len(status["conditions"][0]["message"]) == conditions.LONGEST
