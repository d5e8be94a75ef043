"""The health rules that an application brings along (``spec.health``), ready to be asked.

What must hold: a rule that can't be evaluated makes its objects Unknown and nothing worse, says why, and is not tried again
and again once it has cost too much. Flux's order is kept (RFC 0009: inProgress, failed, current, else InProgress); other than
there, an expression whose field isn't there yet is false, and no error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from windlass import jsonpath
from windlass.documents.health import HealthRule
from workers.health import rules
from workers.health.sandbox import BudgetError, EvaluationError, Sandbox
from workers.health.status import CURRENT, Health, Status, conditions, failed, in_progress, mapping, text, unknown
from workers.kube.keys import group_of

STRIKES = 3
"""How often a rule may exceed its budget before it isn't asked any more: until the documents change, or a restart."""
STATUSES = {"inProgress": Status.IN_PROGRESS, "failed": Status.FAILED, "current": Status.CURRENT}


class CompiledRules:
    """The rules of one application. The documents' checks have been passed: what is compiled here compiles."""

    def __init__(self, health: Iterable[HealthRule], sandbox: Sandbox) -> None:
        self._rules: dict[tuple[str, str, str | None], _CelRule | _PathRule] = {}
        for rule in health:
            made = _PathRule(rule) if rule.json_path is not None else _CelRule(rule, sandbox)
            self._rules.setdefault((rule.group, rule.kind, rule.name), made)
        self._kinds = {(group, kind) for group, kind, _ in self._rules}

    def covers(self, group: str, kind: str) -> bool:
        """Is there a rule for objects of this kind?"""
        return (group, kind) in self._kinds

    def blocks(self, obj: Mapping[str, Any]) -> bool:
        """Does the rule of ``obj`` wait for another process? Then `assess` is for a thread: see `examine`."""
        return isinstance(self._of(obj), _CelRule)

    def assess(self, obj: Mapping[str, Any]) -> Health | None:
        """The health of ``obj`` by its rule; None: it has none. Deletion and generations come before (`rules.assess`)."""
        rule = self._of(obj)
        return None if rule is None else rule.assess(obj)

    def _of(self, obj: Mapping[str, Any]) -> _CelRule | _PathRule | None:
        group, kind = group_of(text(obj, "apiVersion")), text(obj, "kind")
        if (group, kind) not in self._kinds:
            return None
        named = self._rules.get((group, kind, text(mapping(obj, "metadata"), "name")))
        return named or self._rules.get((group, kind, None))


async def examine(obj: Mapping[str, Any], custom: CompiledRules | None = None) -> Health:
    """`rules.assess`, from an event loop: an object whose rule is CEL is assessed in a thread."""
    if custom is not None and custom.blocks(obj):
        return await asyncio.to_thread(rules.assess, obj, custom)
    return rules.assess(obj, custom)


class _PathRule:
    def __init__(self, rule: HealthRule) -> None:
        self._text = rule.json_path or ""
        self._steps = jsonpath.parse(self._text)
        self._value = None if rule.value is None else jsonpath.shown(rule.value)

    def assess(self, obj: Mapping[str, Any]) -> Health:
        found = jsonpath.find(self._steps, obj)
        if not found:
            return in_progress("NoValue", f"there is nothing at {self._text} yet")
        if self._value is None:
            return CURRENT
        other = next((value for value in found if jsonpath.shown(value) != self._value), None)
        if all(jsonpath.shown(value) == self._value for value in found):
            return CURRENT
        shown = jsonpath.shown(other)
        what = "a structure" if shown is None else shown or "empty"
        return in_progress("OtherValue", f"{self._text} is {what}, not {self._value}")


class _CelRule:
    def __init__(self, rule: HealthRule, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._fields, self._expressions = list(rule.expressions), list(rule.expressions.values())
        self._strikes = 0

    def assess(self, obj: Mapping[str, Any]) -> Health:
        if self._strikes >= STRIKES:
            return unknown("RuleExceedsBudget", f"its health rule exceeded its budget {STRIKES} times")
        try:
            index = self._sandbox.ask(self._expressions, obj)
        except BudgetError as error:
            self._strikes += 1
            return unknown("RuleExceedsBudget", f"its health rule can't be evaluated: {error}")
        except EvaluationError as error:
            return unknown("RuleFails", f"its health rule has no answer: {error}")
        field = "" if index is None else self._fields[index]
        status = STATUSES.get(field, Status.IN_PROGRESS)
        if status == Status.CURRENT:
            return CURRENT
        said = _said(obj) or (f"the expression {field} of its health rule holds" if field else "it isn't current yet")
        return failed("Rule", said) if status == Status.FAILED else in_progress("Rule", said)


def _said(obj: Mapping[str, Any]) -> str:
    """What the object itself says: the message of the first condition that doesn't hold, or of its status."""
    status = mapping(obj, "status")
    messages = (found.message for found in conditions(status) if not found.holds and found.message)
    return next(messages, "") or text(status, "message")
