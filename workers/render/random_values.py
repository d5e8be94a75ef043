"""Values that no two renders of a chart share: passwords and certificates that it makes up each time. Pure.

What must hold: such a value is written when its object is created, and what the cluster has is kept from then on; nothing of
it enters a hash, or every render would be a change.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

FieldPath = tuple[str | int, ...]
"""Where a value is in an object."""


def without(body: dict[str, Any], paths: Sequence[FieldPath]) -> dict[str, Any]:
    """``body`` without what is at ``paths``."""
    for path in paths:
        body = _changed(body, path, _GONE)
    return body


def kept(body: dict[str, Any], live: dict[str, Any], paths: Sequence[FieldPath]) -> dict[str, Any]:
    """``body`` with what ``live`` has at ``paths``, where it has something."""
    for path in paths:
        value = _at(live, path)
        if value is _GONE and path[0] == "stringData":  # the server keeps these in data
            value = _decoded(_at(live, ("data", *path[1:])))
        if value is not _GONE:
            body = _changed(body, path, value)
    return body


_GONE: Any = object()


def _at(value: Any, path: FieldPath) -> Any:
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return _GONE
    return value


def _changed(value: Any, path: FieldPath, to: Any) -> Any:
    """A copy of ``value`` with another value at ``path``; where there is no such place, as it is."""
    if not path:
        return to
    step, rest = path[0], path[1:]
    if isinstance(value, dict) and step in value:
        inner = _changed(value[step], rest, to)
        return {key: inner if key == step else one for key, one in value.items() if key != step or inner is not _GONE}
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        inner = _changed(value[step], rest, to)
        return [
            inner if index == step else one for index, one in enumerate(value) if index != step or inner is not _GONE
        ]
    return value


def _decoded(value: Any) -> Any:
    try:
        return base64.b64decode(value, validate=True).decode() if isinstance(value, str) else _GONE
    except (binascii.Error, UnicodeDecodeError):
        return _GONE
