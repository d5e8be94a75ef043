"""What JSON pointers name, in a manifest and in sets of fields (FieldsV1). Pure.

What must hold: a pointer means the same in both. Where a list's items are known by keys, a place in Git's list is the item
with these keys wherever else it is; where the API server tracks a value as one field, a pointer into it names nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from windlass.documents.ignoring import Pointer
from workers.kube.fieldsets import FieldSet, union

ALL = "*"
GONE: Any = object()
_SELECTOR = re.compile(r"\[(.+)\]\Z", re.DOTALL)


# -- manifests ------------------------------------------------------------------------------------------------------


def places(value: Any, pointer: Pointer) -> Iterator[Pointer]:
    """The places of ``value`` that ``pointer`` names, each as a pointer without patterns."""
    if not pointer:
        yield ()
        return
    for step, inner in _children(value):
        if _names(pointer[0], step, inner, isinstance(value, list)):
            yield from ((step, *rest) for rest in places(inner, pointer[1:]))


def reduced(value: Any, pointers: Iterable[Pointer]) -> Any:
    """``value`` without what ``pointers`` name, nor what is empty for it; never changed itself. `GONE`: nothing is left."""
    left = list(pointers)
    if not left:
        return value
    if () in left:
        return GONE
    kept = []
    for step, inner in _children(value):
        within = [p[1:] for p in left if _names(p[0], step, inner, isinstance(value, list))]
        kept.append((step, reduced(inner, within)))
    kept = [(step, inner) for step, inner in kept if inner is not GONE]
    if not kept and value:
        return GONE if isinstance(value, dict | list) else value
    if isinstance(value, dict):
        return dict(kept)
    return [inner for _, inner in kept] if isinstance(value, list) else value


def escaped(step: str) -> str:
    """A step as a JSON pointer writes it (RFC 6901)."""
    return step.replace("~", "~0").replace("/", "~1")


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((str(key), inner) for key, inner in value.items())
    elif isinstance(value, list):
        yield from ((str(index), inner) for index, inner in enumerate(value))


def _names(asked: str, step: str, inner: Any, in_list: bool) -> bool:
    if asked in (step, ALL):
        return True
    selector = _selector(asked) if in_list else None
    return bool(selector) and isinstance(inner, dict) and _fits(selector or {}, inner)


def _selector(step: str) -> dict[str, str] | None:
    """The keys of ``[name=web]``; None for a step that is none."""
    match = _SELECTOR.match(step)
    pairs = [pair.partition("=") for pair in match[1].split(",")] if match else []
    return {key.strip(): value.strip() for key, _, value in pairs} if pairs and all(p[1] for p in pairs) else None


def _fits(selector: dict[str, str], keys: dict[str, Any]) -> bool:
    return all(key in keys and _text(keys[key]) == value for key, value in selector.items())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


# -- sets of fields -------------------------------------------------------------------------------------------------


def chosen(fields: FieldSet, pointers: Iterable[Pointer], manifest: Any) -> FieldSet:
    """What of ``fields`` is at or below one of ``pointers``; places in lists are those of ``manifest``."""
    found = (_chosen(fields, pointer, manifest) for pointer in pointers)
    return union(one for one in found if one is not None)


def _chosen(fields: FieldSet, pointer: Pointer, value: Any) -> FieldSet | None:
    if not pointer:
        return fields
    found: FieldSet = {}
    for element, children, inner in _elements(fields, pointer[0], value):
        within = _chosen(children, pointer[1:], inner)
        if within is not None:
            found[element] = within
    return found or None


def whole(fields: FieldSet, pointer: Pointer, manifest: Any) -> str:
    """The path of the value that ``pointer`` goes into and that is tracked as one field; "" if there is none."""
    if not pointer:
        return ""
    for element, children, inner in _elements(fields, pointer[0], manifest):
        name = f"/{element.partition(':')[2]}"
        if not children and pointer[1:] and isinstance(inner, dict | list) and any(places(inner, pointer[1:])):
            return name
        if deeper := whole(children, pointer[1:], inner):
            return name + deeper
    return ""


def _elements(fields: FieldSet, step: str, value: Any) -> Iterator[tuple[str, FieldSet, Any]]:
    """The children of a set's node that ``step`` names, each with its value in the manifest (None: it has none)."""
    for element, children in fields.items():
        kind, _, text = element.partition(":")
        if kind == "f":
            inner = value.get(text) if isinstance(value, dict) else None
            if step in (text, ALL):
                yield element, children, inner
        elif kind in ("k", "v", "i"):
            known = orjson.loads(text)
            place, inner = _item(kind, known, value)
            selector = _selector(step)
            if step in (place, ALL) or (kind == "k" and selector and _fits(selector, known)):
                yield element, children, inner


def _item(kind: str, known: Any, value: Any) -> tuple[str | None, Any]:
    """Where in a manifest's list the item is that a set names by its keys, by its value or by its place."""
    for index, item in enumerate(value if isinstance(value, list) else ()):
        same = {
            "k": isinstance(item, dict)
            and isinstance(known, dict)
            and all(item.get(k, v) == v for k, v in known.items()),
            "v": item == known,
            "i": index == known,
        }
        if same[kind]:
            return str(index), item
    return None, None


def without(value: Any, fields: FieldSet) -> Any:
    """``value`` without what ``fields`` holds, nor what is empty for it; a list's item keeps its keys for as long as there
    is more to it. `GONE`: nothing is left."""
    if not fields:
        return GONE
    if isinstance(value, dict):
        kept = {key: _without(inner, fields.get(f"f:{key}")) for key, inner in value.items()}
        kept = {key: inner for key, inner in kept.items() if inner is not GONE}
        return kept if kept or not value else GONE
    if isinstance(value, list):
        items = [_left_of(item, fields, value) for item in value]
        return [item for item in items if item is not GONE] if any(i is not GONE for i in items) or not items else GONE
    return value


def _without(value: Any, fields: FieldSet | None) -> Any:
    return value if fields is None else without(value, fields)


def _left_of(item: Any, fields: FieldSet, items: Sequence[Any]) -> Any:
    for element, children in fields.items():
        kind, _, text = element.partition(":")
        if kind in ("k", "v", "i") and _item(kind, known := orjson.loads(text), items)[1] is item:
            return GONE if kind != "k" else _without_keys(item, children, known)
    return item


def _without_keys(item: dict[str, Any], fields: FieldSet, keys: dict[str, Any]) -> Any:
    """An item that is known by ``keys``: they stay with whatever else of it does, and with the item itself."""
    rest = {name: value for name, value in item.items() if name not in keys}
    left = without(rest, fields) if rest and fields else rest
    if (left is GONE or not left) and (not fields or "." in fields):
        return GONE
    return {name: value for name, value in item.items() if name in keys or (left is not GONE and name in left)} | (
        left if left is not GONE else {}
    )
