"""Sets of field paths, as managedFields writes them (``FieldsV1``), and paths as conflicts write them. Pure.

A ``FieldsV1`` node is a JSON object whose keys are path elements (``f:name``, ``k:{...}``, ``v:...``, ``i:0``). A
node that is empty, or that holds ``.``, says that the path itself is in the set; the root is never a member.
Source: sigs.k8s.io/structured-merge-diff, fieldpath/serialize.go and fieldpath/path.go.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

import orjson

FieldSet = dict[str, Any]
"""One ``fieldsV1``."""

_NAMED = re.compile(r"\[([^\[\]\"]*(?:\"(?:[^\"\\]|\\.)*\"[^\[\]\"]*)*)\]")
_PAIR = re.compile(r"(?P<key>[^=,\s]*)=(?P<value>\"(?:[^\"\\]|\\.)*\"|[^,]*)(?:,\s*|$)")


def union(sets: Iterable[FieldSet]) -> FieldSet:
    """Every path that is in one of ``sets``; none of them is changed."""
    result: FieldSet = {}
    for one in sets:
        for element, children in one.items():
            result[element] = _join(result[element], children) if element in result else children
    return result


def _join(one: FieldSet, other: FieldSet) -> FieldSet:
    if not one and not other:
        return {}
    return union((one or {".": {}}, other or {".": {}}))


def minus(fields: FieldSet, other: FieldSet) -> FieldSet:
    """Every path of ``fields`` that isn't in ``other``; neither is changed."""
    return _minus(fields, other, root=True) or {}


def _minus(fields: FieldSet, other: FieldSet, *, root: bool = False) -> FieldSet | None:
    """None: nothing is left, not even the path itself."""
    member = not root and (not fields or "." in fields) and bool(other) and "." not in other
    result: FieldSet = {}
    for element, children in fields.items():
        if element != ".":
            left = _minus(children, other[element]) if element in other else children
            if left is not None:
                result[element] = left
    if member:
        return {".": {}, **result} if result else {}
    return result or None


def contains(fields: FieldSet, *path: str) -> bool:
    """Is ``path`` (its elements as FieldsV1 writes them) a member?"""
    for element in path:
        if element not in fields:
            return False
        fields = fields[element]
    return not fields or "." in fields


def digest(fields: FieldSet) -> str:
    """Two field sets are equal if and only if their digests are, whatever the order in which they are written."""
    return hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def names(manifest: Any, path: str) -> bool:
    """Does ``manifest`` name the field that a conflict calls ``path``, such as ``.spec.containers[name="web"].image``?

    Names are not escaped there (``.metadata.labels.app.kubernetes.io/name``), so the manifest's own keys lead the
    way. A
    list's item is the one whose keys are equal to those of the path; a key that it leaves to its default is taken as
    equal.
    """
    if not path:
        return True
    if isinstance(manifest, dict) and path[0] == ".":
        rest = path[1:]
        return any(
            rest.startswith(key) and rest[len(key) : len(key) + 1] in ("", ".", "[") and names(value, rest[len(key) :])
            for key, value in manifest.items()
        )
    if isinstance(manifest, list) and (match := _NAMED.match(path)):
        rest = path[match.end() :]
        return any(_is_item(item, index, match[1]) and names(item, rest) for index, item in enumerate(manifest))
    return False


def _is_item(item: Any, index: int, selector: str) -> bool:
    if selector.isdigit():
        return index == int(selector)
    for match in _PAIR.finditer(selector):
        if not match["value"]:
            return False
        try:
            value = orjson.loads(match["value"])
        except orjson.JSONDecodeError:
            return False
        here = item.get(match["key"], value) if isinstance(item, dict) and match["key"] else item
        if here != value:
            return False
    return True
