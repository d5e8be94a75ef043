"""``spec.health`` of an Application, and what is said of a wrong one: the line and the field."""

from __future__ import annotations

import pytest

from tests.unit.documents.test_parse import APPLICATION, errors, read
from windlass.documents.health import HealthRule
from windlass.documents.types import Application


def health(*lines: str) -> str:
    return APPLICATION + "  health:\n" + "".join(f"    {line}\n" for line in lines)


def test_rules_of_both_forms() -> None:
    text = health(
        "- group: cert-manager.io",
        "  kind: Certificate",
        "  current: status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')",
        "  failed: status.conditions.exists(c, c.type == 'Issuing' && c.reason == 'Failed')",
        "- {group: example.com, kind: Database, name: main, jsonPath: '{.status.phase}', value: Running}",
        "- {group: example.com, kind: Database, jsonPath: '{.status.ready}', value: true}",
    )
    (application,) = read(text)
    assert isinstance(application, Application)
    first, second, third = application.spec.health
    assert list(first.expressions) == ["failed", "current"]
    assert second == HealthRule("Database", "example.com", "main", json_path="{.status.phase}", value="Running")
    assert third.value is True


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ("{kind: A, current: 'status.'}", "spec.health[0].current: not a CEL expression: 1:8: Syntax error"),
        (
            "{kind: A, current: 'true', failed: 'nope'}",
            "spec.health[0].failed: not a CEL expression: 1:1: undeclared",
        ),
        ("{kind: A, current: '1'}", "spec.health[0].current: expected an expression that is true or false"),
        ("{kind: A, jsonPath: '{..a}'}", "spec.health[0].jsonPath: expected a path such as"),
        ("{kind: A}", "spec.health[0]: expected exactly one of current"),
        ("{kind: A, current: 'true', jsonPath: a}", "spec.health[0]: expected exactly one of current"),
        ("{kind: A, jsonPath: a, failed: 'true'}", "spec.health[0]: failed and inProgress go with current"),
        ("{kind: A, current: 'true', value: x}", "spec.health[0].value: goes with jsonPath only"),
        ("{kind: A, current: 'true', lua: x}", "spec.health[0].lua: unknown field"),
        ("{current: 'true'}", "spec.health[0]: the field kind is missing"),
        ("{kind: a/b, current: 'true'}", "spec.health[0].kind: expected a kind"),
        (
            "{kind: A, group: apps/v1, current: 'true'}",
            "spec.health[0].group: expected an API group without its version",
        ),
        ("{kind: Secret, current: 'true'}", "spec.health[0].kind: a Secret has no health"),
    ],
)
def test_a_wrong_rule(rule: str, error: str) -> None:
    [said] = errors(health(f"- {rule}"))
    assert said.startswith("a.yaml:14:"), said
    assert error in said


def test_the_same_objects_have_one_rule() -> None:
    rule = "- {kind: A, name: x, current: 'true'}"
    assert "spec.health[1]: the same objects have a rule already, health[0]" in errors(health(rule, rule))[0]
    assert "at most 100 rules" in errors(health(*[rule] * 101))[0]
