"""``spec.health`` of an Application: when its own kinds of objects are healthy. Types and checks, no I/O.

A rule is written as Flux's healthCheckExprs are (CEL: ``current``, ``failed``, ``inProgress``), or as `kubectl wait
--for=jsonpath` (``jsonPath``, ``value``). The first rule that fits an object by group, kind and name is the object's; a
rule without a name fits all of its kind that have none of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from windlass import cel, jsonpath
from windlass.yamls import Path

MOST = 100
"""Rules of one application."""

_GROUP = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")
_KIND = re.compile(r"[A-Z][A-Za-z0-9]{0,62}\Z")


class HealthRule(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """Health of one object, or of a kind: by CEL expressions, or by the value at a path.

    ``in_progress`` is asked first, then ``failed``, then ``current``; if none is true, the object is InProgress. A field
    that isn't there makes an expression false. With ``json_path`` an object is Current once each value found there is
    ``value``, or, without a value, once one is there.
    """

    kind: str
    group: str = ""  # the core group
    name: str | None = None
    current: str | None = None
    failed: str | None = None
    in_progress: str | None = None
    json_path: str | None = None
    value: str | int | bool | None = None

    @property
    def expressions(self) -> dict[str, str]:
        """The CEL expressions by the field that holds them, in the order in which they are asked."""
        fields = {"inProgress": self.in_progress, "failed": self.failed, "current": self.current}
        return {field: text for field, text in fields.items() if text is not None}


def violations(rules: tuple[HealthRule, ...]) -> Iterator[tuple[Path, str]]:
    """What is wrong with rules whose types are right: (path below ``health``, message)."""
    if len(rules) > MOST:
        yield (), f"expected at most {MOST} rules"
        return
    seen: dict[tuple[str, str, str | None], int] = {}
    for index, rule in enumerate(rules):
        first = seen.setdefault((rule.group, rule.kind, rule.name), index)
        if first != index:
            yield (index,), f"the same objects have a rule already, health[{first}]"
        for path, message in _rule(rule):
            yield (index, *path), message


def _rule(rule: HealthRule) -> Iterator[tuple[Path, str]]:
    if rule.group and not _GROUP.match(rule.group):
        yield ("group",), "expected an API group without its version, such as cert-manager.io"
    if not _KIND.match(rule.kind):
        yield ("kind",), "expected a kind, such as Certificate"
    elif (rule.group, rule.kind) == ("", "Secret"):
        yield ("kind",), "a Secret has no health: its values are not for expressions"
    if (rule.current is None) == (rule.json_path is None):
        yield (), "expected exactly one of current (with failed and inProgress) and jsonPath (with value)"
    elif rule.json_path is not None and rule.expressions:
        yield (), "failed and inProgress go with current"
    elif rule.json_path is None and rule.value is not None:
        yield ("value",), "goes with jsonPath only"
    yield from _syntax(rule)


def _syntax(rule: HealthRule) -> Iterator[tuple[Path, str]]:
    for field, expression in rule.expressions.items():
        try:
            cel.compiled(expression)
        except cel.CelError as error:
            yield (field,), str(error)
    if rule.json_path is not None:
        try:
            jsonpath.parse(rule.json_path)
        except jsonpath.JsonPathError as error:
            yield ("jsonPath",), str(error)
