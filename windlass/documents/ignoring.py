"""`spec.sync.ignore` of an Application: which fields of which objects are left to others. Types and checks, no I/O.

A rule is what Argo CD's `ignoreDifferences` is, and holds on apply too. Git's value of an ignored field is its first one;
from then on whoever changes it keeps it. A pointer (RFC 6901) may go into a list in three ways: ``0`` is the place in
Git's list, ``[name=web]`` the item with that key (several: ``[containerPort=80,protocol=TCP]``), ``*`` all of them. Each item
is then known to the API server by its keys; where it knows a list, or an object, only as a whole, a part of it can't be
ignored, and the object's error says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from windlass.documents.base import Strict
from windlass.yamls import Path

MOST = 100
"""Rules of one application, and pointers or managers of one rule."""
LONGEST = 500
"""Characters of a pointer."""

Pointer = tuple[str, ...]
"""A JSON pointer's steps, unescaped."""

_ESCAPE = re.compile(r"~(?![01])")
_PATTERN = re.compile(r"[A-Za-z0-9*?\[\]!.:_-]{1,253}\Z")
_OWN = ("part-of label and the hash are Windlass' own", "applyset.kubernetes.io/part-of", "windlass.dev/hash")
_IDENTITY = frozenset({("metadata",), ("metadata", "name"), ("metadata", "namespace")})


class IgnoreRule(Strict, frozen=True):
    """Fields of some objects that are left to others: those that the pointers name, and those that the managers own.

    ``kind``, ``group``, ``name`` and ``namespace`` may be patterns (the shell's); one that is left out fits all, and a
    ``group`` of "" the core group only. ``managers`` are field managers, as `kubectl get --show-managed-fields` names them.
    """

    kind: str
    group: str | None = None
    name: str | None = None
    namespace: str | None = None
    json_pointers: tuple[str, ...] = ()
    managers: tuple[str, ...] = ()


def steps(pointer: str) -> Pointer:
    """The steps of a pointer that has no violation."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def violations(rules: tuple[IgnoreRule, ...]) -> Iterator[tuple[Path, str]]:
    """What is wrong with rules whose types are right: (path below ``ignore``, message)."""
    if len(rules) > MOST:
        yield (), f"expected at most {MOST} rules"
        return
    for index, rule in enumerate(rules):
        for path, message in _rule(rule):
            yield (index, *path), message


def _rule(rule: IgnoreRule) -> Iterator[tuple[Path, str]]:
    fields = {"kind": rule.kind, "group": rule.group or None, "name": rule.name, "namespace": rule.namespace}
    for field, pattern in fields.items():
        if pattern is not None and not _PATTERN.match(pattern):
            yield (field,), f"expected a {field}, or a pattern of several, like web-*"
    if not rule.json_pointers and not rule.managers:
        yield (), "expected jsonPointers, managers, or both"
    if max(len(rule.json_pointers), len(rule.managers)) > MOST:
        yield (), f"expected at most {MOST} pointers and managers in one rule"
        return
    for index, pointer in enumerate(rule.json_pointers):
        if message := _wrong(pointer):
            yield ("jsonPointers", index), message
    for index, manager in enumerate(rule.managers):
        if not _PATTERN.match(manager):
            yield ("managers", index), "expected a field manager, such as kube-controller-manager, or a pattern"
        elif manager.startswith("windlass"):
            yield ("managers", index), "is Windlass itself"


def _wrong(pointer: str) -> str:
    """What is wrong with a pointer; "" if nothing is."""
    if not pointer.startswith("/") or len(pointer) < 2 or len(pointer) > LONGEST or not pointer.isprintable():
        return "expected a JSON pointer, such as /spec/replicas"
    if _ESCAPE.search(pointer):
        return "a ~ in a JSON pointer is written ~0, and a / within a name ~1"
    found = steps(pointer)
    if "" in found:
        return "expected a name between any two slashes"
    if found in _IDENTITY or found[0] in ("apiVersion", "kind", "*") or found == ("metadata", "*"):
        return "what says which object it is can't be ignored"
    if found[0] == "metadata" and found[-1] in _OWN[1:]:
        return f"can't be ignored: the {_OWN[0]}"
    return ""
