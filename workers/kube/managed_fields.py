"""Who owns which field of an object: what ``metadata.managedFields`` says, and how ownership passes to us. Pure.

What must hold:

- An object is ours only if our manager's own ``Apply`` entry owns the ``part-of`` label. Controllers copy labels (a
  Service's to its Endpoints); a copy has no such entry.
- A take-over leaves no trace of the former manager: its entry is merged into ours, so that our next apply removes
  whatever
  of it Git doesn't name. Forcing an apply does not do that: it takes only the fields that Git names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

import orjson

from workers.kube.errors import Cause, Conflict
from workers.kube.fieldsets import contains, digest, union

PART_OF = "applyset.kubernetes.io/part-of"
HASH = "windlass.dev/hash"
PREFIX = "windlass/"
"""The field managers of Windlass' applications: this, and the application's name."""

IGNORED = "windlass-ignored"
"""The manager of fields that were Git's and are ignored now: what it owns is Git's again where nothing ignores it."""

HUMAN = (
    IGNORED,
    "kubectl*",
    "before-first-apply",
    "argocd-controller",
    "argocd-application-controller",
    "kustomize-controller",
    "helm-controller",
    "flux*",
    "helm",
    "Helm",
)
"""Managers behind which there is a person, or a tool that Windlass follows: their fields give way to Git."""

_MANAGER = re.compile(r'conflict with ("(?:[^"\\]|\\.)*")')

Entry = dict[str, Any]


@lru_cache(maxsize=1024)
def is_human(manager: str, patterns: tuple[str, ...] = HUMAN) -> bool:
    """Is ``manager`` one that gives way to Git?"""
    return any(fnmatchcase(manager, pattern) for pattern in patterns)


def application_of(manager: str) -> str:
    """The Windlass application behind a field manager, "" for any other manager."""
    return manager.removeprefix(PREFIX) if manager.startswith(PREFIX) else ""


def own_entry(entries: Sequence[Entry], manager: str) -> Entry | None:
    """The entry of what ``manager`` applied to the object itself (not to a subresource)."""
    for entry in entries:
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource"):
            return entry
    return None


def owns_label(entries: Sequence[Entry], manager: str, label: str = PART_OF) -> bool:
    """Did ``manager`` itself apply ``label``? What a controller copied, it did not."""
    entry = own_entry(entries, manager)
    return entry is not None and contains(_fields(entry), "f:metadata", "f:labels", f"f:{label}")


def is_member(metadata: dict[str, Any], manager: str, applyset_id: str) -> bool:
    """Is the object ours: labelled with our ApplySet, by our own apply?"""
    labels = metadata.get("labels") or {}
    return labels.get(PART_OF) == applyset_id and owns_label(metadata.get("managedFields") or (), manager)


def fields_digest(entries: Sequence[Entry], manager: str) -> str:
    """The digest of the fields that ``manager`` owns by its applies, "" if it has none. It changes when a field is
    taken."""
    entry = own_entry(entries, manager)
    return digest(_fields(entry)) if entry is not None else ""


def others(entries: Sequence[Entry], manager: str) -> tuple[str, ...]:
    """The other managers of the object's own fields, each once: who only writes the status is none."""
    names = (entry.get("manager", "") for entry in entries if not _is_own(entry, manager) and not _is_status(entry))
    return tuple(dict.fromkeys(names))


def absorbed(
    entries: Sequence[Entry], manager: str, api_version: str, former: Callable[[str], bool]
) -> list[Entry] | None:
    """``entries`` with those of every ``former`` manager merged into the one of ``manager``; None if there are none.

    An entry of the status subresource stays: nobody's apply could remove what it holds.
    """
    leaving = [e for e in entries if not _is_own(e, manager) and not _is_status(e) and former(e.get("manager", ""))]
    if not leaving:
        return None
    own = own_entry(entries, manager)
    merged = own or {"manager": manager, "operation": "Apply", "apiVersion": api_version, "fieldsType": "FieldsV1"}
    merged = {**merged, "fieldsV1": union(map(_fields, [merged, *leaving]))}
    merged.setdefault("time", max((str(entry.get("time") or "") for entry in leaving), default="") or None)
    return [merged, *(entry for entry in entries if entry is not own and entry not in leaving)]


def ownership_patch(entries: Sequence[Entry], resource_version: str) -> bytes:
    """The JSON patch that writes ``entries``, and fails with 409 if the object changed since ``resource_version``.

    As k8s.io/client-go/util/csaupgrade does it. The server strips the paths that an entry names and the object lacks.
    """
    return orjson.dumps(
        [
            {"op": "replace", "path": "/metadata/managedFields", "value": list(entries)},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version},
        ]
    )


def conflicts(causes: Iterable[Cause]) -> list[Conflict]:
    """The fields and managers that a 409 names. Its causes are the only place where the server says them."""
    found = []
    for cause in causes:
        if cause.reason == "FieldManagerConflict":
            match = _MANAGER.match(cause.message)
            found.append(Conflict(cause.field, _unquoted(match[1]) if match else cause.message))
    return found


def _unquoted(text: str) -> str:
    try:
        return str(orjson.loads(text))
    except orjson.JSONDecodeError:
        return text.strip('"')  # Go quotes a few control characters in a way that JSON doesn't know


def _fields(entry: Entry) -> dict[str, Any]:
    return entry.get("fieldsV1") or {}


def _is_own(entry: Entry, manager: str) -> bool:
    return entry.get("manager") == manager


def _is_status(entry: Entry) -> bool:
    return entry.get("subresource") == "status"
