"""A refusal because a field can't be changed: which field, whether the object may be deleted and created anew, and what to
tell a person. Pure.

What must hold: an object is only ever deleted for a refusal that its absence mends, so every cause must be of this kind (a
second fault would stand in the way of creating it), and a policy's denial (403) is none; what is precious needs its own word
for it; and no message repeats a value, which the API server does (a Job's whole pod, a Secret's data).

The texts are those of Kubernetes' validation, seen on 1.36 (`tests/integration/kube/test_immutable.py`), and what rules in
CEL usually say. They are told from values by their place: after the value, or after `Forbidden:`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from workers.directives import OWN_REPLACE, Directives, Say
from workers.kube.errors import ApiError, Cause
from workers.kube.keys import PRECIOUS

INVALID = 422
"""`Invalid`: the status of a refusal by an object's own rules."""

_IMMUTABLE = re.compile(
    r"\bimmutable\b|may not change once set|cannot change roleRef|can(?:not| not) be unset|updates to .* forbidden"
    r"|may not change fields other than|may not be changed in an update"
)
_SECRET_CAUSES = {"data": "FieldValueForbidden", "immutable": "FieldValueForbidden", "type": "FieldValueInvalid"}
"""Of a Secret only a cause's field and reason are known. These fields have no other fault of that reason."""

_HARM = {
    "Deployment.apps": "its pods are stopped, and others started",
    "DaemonSet.apps": "its pods are stopped, and others started",
    "ReplicaSet.apps": "its pods are stopped, and others started",
    "StatefulSet.apps": "its pods are stopped, and others started; their claims stay",
    "Pod": "it is stopped, and started anew",
    "Job.batch": "it runs again",
    "Service": "its address may change, and connections break",
    "PersistentVolumeClaim": "what it holds is lost, unless its volume is retained",
    "PersistentVolume": "what it holds may be lost",
    "Namespace": "everything in it is deleted",
    "CustomResourceDefinition.apiextensions.k8s.io": "every object of its kind is deleted",
}
_INSTEAD = {
    "Job.batch": "give it a name that changes with its content",
    "Service": "leave the field as it was",
    "ConfigMap": "give it a new name where it is defined and used",
    "Secret": "give it a new name where it is defined and used",
    "PersistentVolumeClaim": "leave the field as it was (a bound claim may grow)",
}


def immutable_fields(
    error: ApiError,
    group_kind: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> tuple[str, ...]:
    """The fields that the API server refused to change; empty if the refusal is, or is also, about something else.

    Where the server only says ``spec``, the manifests applied ``before`` and wanted (``after``) tell which fields of it.
    """
    if error.status != INVALID or not error.causes:
        return ()
    found: list[str] = []
    for cause in error.causes:
        detail = _detail(cause, group_kind)
        if detail is None:
            return ()
        found += _within(detail, before, after) if cause.field == "spec" else [cause.field]
    return tuple(dict.fromkeys(found))


def _detail(cause: Cause, group_kind: str) -> str | None:
    """What a cause says after the value that it is about, if that is: this can't be changed."""
    if group_kind == "Secret":
        return "" if _SECRET_CAUSES.get(cause.field) == cause.reason else None
    kind, _, rest = cause.message.partition(": ")
    line = rest.partition("\n")[0] if kind == "Forbidden" else cause.message.rpartition(": ")[2]
    return line if _IMMUTABLE.search(line) else None


def _within(detail: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[str]:
    """The fields of the spec that differ; those that ``detail`` names as changeable only if there are no others."""
    differing = list(_differing((before or {}).get("spec"), (after or {}).get("spec")))
    named = [name for name in differing if not re.search(rf"\b{re.escape(name)}\b", detail)]
    return [f"spec.{name}" for name in named or differing] or ["spec"]


def _differing(before: Any, after: Any) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys((*before, *after)):
            if before.get(name) != after.get(name):
                yield str(name)


def may_replace(group_kind: str, wishes: Directives, application: bool) -> bool:
    """May the object be deleted and created anew? Its own word goes before the ``application``'s (`spec.sync.replace`).

    Argo CD's `Replace=true` never deletes a Namespace or a CustomResourceDefinition, and stands on many of them: what is
    precious takes `windlass.dev/replace` alone. What asks to be kept isn't deleted for the application's word either.
    """
    if wishes.own_replace is not None:
        return wishes.own_replace
    if group_kind in PRECIOUS:
        return False
    if wishes.force or wishes.replace is not None:
        return wishes.force or bool(wishes.replace)
    keep = (Say.NO, Say.CONFIRM)
    return application and wishes.prune not in keep and wishes.delete not in keep


def advice(group_kind: str, fields: tuple[str, ...]) -> str:
    """For a person, where replacing isn't allowed: which fields, and what to do. Holds no value."""
    shown = ", ".join(fields[:5]) + (f" and {len(fields) - 5} more" if len(fields) > 5 else "")
    harm = f" ({_HARM[group_kind]})" if group_kind in _HARM else ""
    instead = _INSTEAD.get(group_kind, "give it another name")
    return (
        f"{shown}: can't be changed while the object exists. Either {instead}, or let it be deleted and created anew{harm}: "
        f'annotate it with {OWN_REPLACE}: "true"'
    )
