"""JSONPath as `kubectl wait --for=jsonpath` takes it: fields, indexes, ``[*]``, and filters on one field. Pure.

The language is a subset of kubectl's (https://kubernetes.io/docs/reference/kubectl/jsonpath/): no recursive descent, no
slices, no unions, no regular expressions. What must hold: a path is read in one pass, and finding takes time in proportion
to its steps and the object's size, whatever either holds.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

LONGEST = 500
"""Characters of a path."""
EXPECTED = 'expected a path such as {.status.phase}, {.status.items[0].ready} or {.status.conditions[?(@.type=="Ready")].status}'

_NAME = r"(?:\\[^\w\s]|[\w/-])+"
_STEP = re.compile(
    rf"""
      \.(?P<field>{_NAME}) | \[(?P<index>-?\d{{1,6}})\] | (?P<every>\[\*\]|\.\*)
    | \[(?P<quote>['"])(?P<quoted>[^'"\\]+)(?P=quote)\]
    | \[\?\(\s*@(?P<filter>(?:\.{_NAME})+)\s*(?P<operator>==|!=)\s*
        (?:(?P<q>['"])(?P<text>[^'"\\]*)(?P=q)|(?P<word>true|false|-?\d{{1,18}}))\s*\)\]
    """,
    re.VERBOSE | re.ASCII,
)
_FIELD = re.compile(rf"\.({_NAME})", re.ASCII)


class JsonPathError(ValueError):
    """A text isn't a path; the message says where, for people."""


class Step(NamedTuple):
    """A field's name, an index, or (``name`` None) every item: all of them, or those whose ``where`` is ``value``."""

    name: str | int | None
    where: tuple[str, ...] = ()
    value: str = ""
    equal: bool = True


def parse(text: str) -> tuple[Step, ...]:
    """The steps of a path. The braces may be left out, as kubectl allows.

    :raises JsonPathError: it isn't one.
    """
    if len(text) > LONGEST:
        raise JsonPathError(f"expected at most {LONGEST} characters")
    path = text.strip()
    if path.startswith("{") and path.endswith("}"):
        path = path[1:-1].strip()
    path = path.removeprefix("$")
    if path and path[0] not in ".[":
        path = f".{path}"
    steps: list[Step] = []
    position = 0
    while position < len(path):
        match = _STEP.match(path, position)
        if match is None:
            raise JsonPathError(f"{EXPECTED}; not understood from {path[position : position + 30]!r} on")
        steps.append(_step(match))
        position = match.end()
    if not steps:
        raise JsonPathError(EXPECTED)
    return tuple(steps)


def _step(match: re.Match[str]) -> Step:
    if match["field"] is not None:
        return Step(_unescaped(match["field"]))
    if match["quoted"] is not None:
        return Step(match["quoted"])
    if match["index"] is not None:
        return Step(int(match["index"]))
    if match["every"] is not None:
        return Step(None)
    where = tuple(_unescaped(name) for name in _FIELD.findall(match["filter"]))
    value = match["text"] if match["text"] is not None else match["word"]
    return Step(None, where, value, match["operator"] == "==")


def _unescaped(name: str) -> str:
    return re.sub(r"\\(.)", r"\1", name)


def find(steps: tuple[Step, ...], value: Any) -> list[Any]:
    """Everything in ``value`` that the path leads to; a field or index that isn't there leads nowhere."""
    found = [value]
    for step in steps:
        found = [item for holder in found for item in _below(step, holder)]
    return found


def _below(step: Step, holder: Any) -> list[Any]:
    if isinstance(step.name, str):
        return [holder[step.name]] if isinstance(holder, dict) and step.name in holder else []
    if isinstance(step.name, int):
        inside = isinstance(holder, list) and -len(holder) <= step.name < len(holder)
        return [holder[step.name]] if inside else []
    items = list(holder.values()) if isinstance(holder, dict) else holder if isinstance(holder, list) else []
    return [item for item in items if _holds(step, item)] if step.where else items


def _holds(step: Step, item: Any) -> bool:
    for name in step.where:
        if not isinstance(item, dict) or name not in item:
            return False
        item = item[name]
    return (shown(item) == step.value) == step.equal


def shown(value: Any) -> str | None:
    """A scalar as kubectl writes it, to be compared; None for a mapping or a list, which can't be."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    return str(value) if isinstance(value, str | int | float) else None
