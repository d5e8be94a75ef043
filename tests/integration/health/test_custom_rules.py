"""An application's own rules, with the process that evaluates them: what they say, and what hostile ones can't do."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings

from tests.unit.health.objects import condition, made
from tests.unit.health.test_kinds import JSON
from windlass.documents.health import HealthRule, violations
from workers.health import CompiledRules, Health, Sandbox, Status, assess, examine, has_health
from workers.health import sandbox as sandboxes
from workers.health.custom import STRIKES
from workers.health.sandbox import BudgetError, EvaluationError

READY = "status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')"
LOST = "status.conditions.exists(c, c.type == 'Ready' && c.reason == 'Lost')"
DOUBLED = "[[1, 2]]" + ".map(x, x + x)" * 26 + "[0] == []"
SHARED = "[1]" + ".map(x, [x, x])" * 26
HOSTILE = {
    "a list that doubles": DOUBLED,
    "a string that doubles": "['xxxxxxxx']" + ".map(x, x + x)" * 27 + "[0] == ''",
    "trees that share their branches": f"{SHARED} == {SHARED}",
    "loops in loops": "status.l.all(a, status.l.all(b, status.l.all(c, a + b + c >= 0)))",
    "all by all": "status.l.map(x, self) == status.l.map(x, self)",
}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    sandbox = Sandbox()
    yield sandbox
    sandbox.close()


def rules(sandbox: Sandbox, *given: HealthRule) -> CompiledRules:
    assert list(violations(given)) == []
    return CompiledRules(given, sandbox)


def database(*conditions: Any, name: str = "main", **status: Any) -> dict[str, Any]:
    status = {**status, "conditions": [*conditions]} if conditions else status
    return made("example.com/v1", "Database", status=status, name=name)


def cel(current: str, **more: Any) -> HealthRule:
    return HealthRule("Database", "example.com", current=current, **more)


def path(text: str, value: str | int | bool | None = None, **more: Any) -> HealthRule:
    return HealthRule("Database", "example.com", json_path=text, value=value, **more)


@pytest.mark.parametrize(
    ("obj", "status", "message"),
    [
        (database(condition("Ready")), Status.CURRENT, ""),
        (database(condition("Ready", "False", "Lost", "the disk is gone")), Status.FAILED, "the disk is gone"),
        (database(condition("Ready", "False", "New", "creating")), Status.IN_PROGRESS, "creating"),
        (database(condition("Ready"), moving=True), Status.IN_PROGRESS, "inProgress of its health rule holds"),
        (database(), Status.IN_PROGRESS, "it isn't current yet"),
        (made("example.com/v1", "Database"), Status.IN_PROGRESS, "it isn't current yet"),
    ],
)
def test_expressions(sandbox: Sandbox, obj: dict[str, Any], status: Status, message: str) -> None:
    custom = rules(sandbox, cel(READY, failed=LOST, in_progress="status.moving"))
    health = assess(obj, custom)
    assert (health.status, message in health.message) == (status, True), health


@pytest.mark.parametrize(
    ("rule", "obj", "status", "message"),
    [
        (path("{.status.phase}", "Up"), database(phase="Up"), Status.CURRENT, ""),
        (path("{.status.phase}", "Up"), database(phase="Down"), Status.IN_PROGRESS, "{.status.phase} is Down, not Up"),
        (path("{.status.phase}", "Up"), database(), Status.IN_PROGRESS, "nothing at {.status.phase} yet"),
        (path("{.status.ready}", value=True), database(ready=True), Status.CURRENT, ""),
        (path("{.status.ready}", value=True), database(ready=False), Status.IN_PROGRESS, "is false, not true"),
        (path("{.status.count}", 3), database(count=3), Status.CURRENT, ""),
        (path("{.status.address}"), database(address="x"), Status.CURRENT, ""),
        (
            path("{.status.l[*].up}", value=True),
            database(l=[{"up": True}, {"up": False}]),
            Status.IN_PROGRESS,
            "is false",
        ),
        (path("{.status}", "x"), database(a=1), Status.IN_PROGRESS, "is a structure, not x"),
    ],
)
def test_paths(sandbox: Sandbox, rule: HealthRule, obj: dict[str, Any], status: Status, message: str) -> None:
    health = assess(obj, rules(sandbox, rule))
    assert (health.status, message in health.message) == (status, True), health


def test_a_rule_with_a_name_goes_first_and_other_kinds_keep_theirs(sandbox: Sandbox) -> None:
    config = HealthRule("ConfigMap", json_path="{.data.ready}", value="yes")
    custom = rules(sandbox, path("{.status.a}"), path("{.status.b}", name="main"), config)
    assert assess(database(b=1), custom).status == Status.CURRENT
    assert assess(database(b=1, name="other"), custom).status == Status.IN_PROGRESS
    assert assess(made("example.com/v1", "Cache", status={}), custom).status == Status.CURRENT
    assert has_health("", "ConfigMap", custom)
    assert not has_health("", "Secret", custom)
    assert assess({**made("v1", "ConfigMap"), "data": {"ready": "no"}}, custom).status == Status.IN_PROGRESS


def test_deletion_and_generations_come_before_any_rule(sandbox: Sandbox) -> None:
    custom = rules(sandbox, cel("true"))
    behind = made("example.com/v1", "Database", status={"observedGeneration": 1}, generation=2)
    leaving = made("example.com/v1", "Database", deletionTimestamp="2026-01-01T00:00:00Z")
    assert assess(behind, custom).reason == "Unobserved"
    assert assess(leaving, custom).status == Status.TERMINATING


def test_what_has_no_answer_is_unknown_and_says_why(sandbox: Sandbox) -> None:
    health = assess(database(phase="Up"), rules(sandbox, cel("status.phase > 1")))
    assert (health.status, health.reason) == (Status.UNKNOWN, "RuleFails")
    assert "No matching overloads" in health.message
    assert "of type string" in assess(database(phase="Up"), rules(sandbox, cel("status.phase"))).message


def test_no_process_is_there_before_it_is_needed(sandbox: Sandbox) -> None:
    custom = rules(sandbox, path("{.status.phase}"), cel(READY, name="other"))
    assess(database(phase="Up"), custom)
    assert sandbox._child is None
    assert not custom.blocks(database())
    assert custom.blocks(database(name="other"))


async def test_an_event_loop_goes_on_meanwhile(sandbox: Sandbox) -> None:
    custom = rules(sandbox, cel(DOUBLED))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.005)
            ticks += 1

    ticking = asyncio.create_task(tick())
    health = await examine(database(), custom)
    ticking.cancel()
    assert health.reason == "RuleExceedsBudget"
    assert ticks > 3
    assert (await examine(database(phase="Up"))).status == Status.CURRENT


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_expression_ends_within_its_budget_and_the_next_one_answers(sandbox: Sandbox, case: str) -> None:
    obj = database(l=list(range(4500)), pad=[{"x": "y"}] * 4500)
    with pytest.raises(BudgetError):
        sandbox.ask([HOSTILE[case]], obj)
    assert sandbox.ask(["status.phase == 'Up'"], database(phase="Up")) == 0


def test_a_pathological_regular_expression_is_linear(sandbox: Sandbox) -> None:
    assert sandbox.ask(["status.s.matches('(a+)+$')"], database(s="a" * 500_000 + "b")) is None
    with pytest.raises(EvaluationError, match="invalid regular expression"):
        sandbox.ask(["status.s.matches('((x{100}){100}){100}')"], database(s="x"))


def test_a_rule_that_costs_too_much_is_not_asked_for_ever(sandbox: Sandbox) -> None:
    custom = rules(sandbox, cel(DOUBLED))
    reasons = [assess(database(), custom) for _ in range(STRIKES)]
    assert {health.reason for health in reasons} == {"RuleExceedsBudget"}
    child = sandbox._child
    assert f"exceeded its budget {STRIKES} times" in assess(database(), custom).message
    assert sandbox._child is child


def test_a_process_that_gives_no_answer_is_ended(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.ask(["true"], {})
    assert sandbox._child is not None
    child = psutil.Process(sandbox._child.pid)
    os.kill(child.pid, signal.SIGSTOP)
    monkeypatch.setattr(sandboxes, "WALL_SECONDS", 0.2)
    with pytest.raises(BudgetError, match=r"more than 0\.2 s"):
        sandbox.ask(["true"], {})
    assert not child.is_running()
    monkeypatch.undo()
    assert sandbox.ask(["true"], {}) == 0


def test_a_process_that_was_killed_is_replaced(sandbox: Sandbox) -> None:
    sandbox.ask(["true"], {})
    assert sandbox._child is not None
    os.kill(sandbox._child.pid, signal.SIGKILL)
    sandbox._child.wait()
    assert sandbox.ask(["true"], {}) == 0


def test_an_object_that_is_too_large_never_gets_there(sandbox: Sandbox) -> None:
    with pytest.raises(BudgetError, match="too large"):
        sandbox.ask(["true"], {"status": "x" * (3 << 20)})
    assert sandbox._child is None
    with pytest.raises(EvaluationError, match="isn't JSON"):
        sandbox.ask(["true"], {"status": "\ud800"})


def test_the_process_has_nothing_of_ours(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "canary")
    sandbox.ask(["true"], {})
    assert sandbox._child is not None
    assert "TOKEN" not in psutil.Process(sandbox._child.pid).environ()


def test_closing_leaves_no_process(sandbox: Sandbox) -> None:
    sandbox.ask(["true"], {})
    assert sandbox._child is not None
    process = psutil.Process(sandbox._child.pid)
    sandbox.close()
    assert not process.is_running()
    sandbox.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(metadata=JSON, status=JSON)
def test_no_json_is_too_odd_for_a_rule(sandbox: Sandbox, metadata: Any, status: Any) -> None:
    custom = rules(sandbox, cel(READY, failed=LOST), path("{.status.conditions[0].type}", "x", name="p"))
    for name in ("c", "p"):
        meta = {**metadata, "name": name} if isinstance(metadata, dict) else metadata
        obj = {"apiVersion": "example.com/v1", "kind": "Database", "metadata": meta, "status": status}
        assert isinstance(assess(obj, custom), Health)
