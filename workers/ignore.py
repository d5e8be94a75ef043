"""`sync.ignore` met with objects: what of each is left to others, and what that makes of its hash. Pure.

What must hold: a change of an ignored value changes no hash; a change of what is ignored does, so that ownership passes
on, or comes back, with one write. A hash's part after the hyphen tells which fields were handed over when it was applied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import orjson

from windlass.documents.ignoring import IgnoreRule, Pointer, steps
from windlass.documents.types import Application
from workers.kube import pointers
from workers.kube.handoff import Left
from workers.kube.keys import ObjectKey, group_of

STRING_DATA, DATA = "stringData", "data"


class IgnoreRules:
    """The rules of one application."""

    def __init__(self, rules: Sequence[IgnoreRule] = (), namespace: str | None = None) -> None:
        """``namespace`` is where objects are that name none."""
        self._rules, self._namespace = tuple(rules), namespace
        self._known: dict[tuple[int, ...], Left] = {}

    @classmethod
    def of(cls, application: Application) -> IgnoreRules:
        return cls(application.spec.sync.ignore, application.spec.destination.namespace)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def left(self, group: str, kind: str, namespace: str, name: str) -> Left | None:
        """What of the object is left to others; None: no rule is about it."""
        place = namespace or self._namespace or ""
        fitting = tuple(
            index
            for index, rule in enumerate(self._rules)
            if fnmatchcase(kind, rule.kind)
            and (rule.group is None or fnmatchcase(group, rule.group))
            and (rule.name is None or fnmatchcase(name, rule.name))
            and (rule.namespace is None or fnmatchcase(place, rule.namespace))
        )
        if not fitting:
            return None
        key = (*fitting, -1 if (group, kind) == ("", "Secret") else 0)
        if key not in self._known:
            rules = [self._rules[index] for index in fitting]
            found = [steps(pointer) for rule in rules for pointer in rule.json_pointers]
            if key[-1]:
                found += [twin for pointer in found for twin in _twins(pointer)]
            managers = dict.fromkeys(manager for rule in rules for manager in rule.managers)
            self._known[key] = Left(tuple(sorted(dict.fromkeys(found))), tuple(sorted(managers)))
        return self._known[key]

    def of_key(self, key: ObjectKey) -> Left | None:
        return self.left(*key) if self._rules else None

    def of_manifest(self, api_version: str, kind: str, namespace: str, name: str) -> Left | None:
        """The same for an object as a manifest names it."""
        return self.left(group_of(api_version), kind, namespace, name) if self._rules else None


NOTHING_LEFT = IgnoreRules()


def hashed(body: Mapping[str, Any], left: Left) -> tuple[dict[str, Any], str]:
    """What of a manifest its hash is of, and the hash's part that tells what was left out."""
    places = sorted(place for pointer in left.pointers for place in pointers.places(body, pointer))
    text = orjson.dumps([left.pointers, left.managers, places])
    return pointers.reduced(body, left.pointers), f"-{hashlib.sha256(text).hexdigest()[:8]}"


def is_handed_over(applied: str, wanted: str) -> bool:
    """Were the fields that an object's ``wanted`` hash leaves out left out when the one of the hash ``applied`` was applied?"""
    return applied.partition("-")[2] == wanted.partition("-")[2] != ""


def _twins(pointer: Pointer) -> list[Pointer]:
    """A Secret's ``stringData`` is its ``data``."""
    if pointer[0] not in (STRING_DATA, DATA):
        return []
    return [(DATA if pointer[0] == STRING_DATA else STRING_DATA, *pointer[1:])]
