"""Health by what any object may have: its deletion, its generations, and the conventional conditions. Pure.

The rules are kstatus' (sigs.k8s.io/cli-utils/pkg/kstatus/status, generic.go and checkReadyCondition). One is added: a
Ready condition that names an older generation than the object's (`observedGeneration` in the condition, as cert-manager
and many others write it) says nothing about this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workers.health.status import (
    CURRENT,
    Health,
    Status,
    condition,
    conditions,
    failed,
    in_progress,
    mapping,
    text,
    whole,
)


def leaving(obj: Mapping[str, Any]) -> Health | None:
    """Terminating, if the object is being deleted; says what is still waited for."""
    metadata = mapping(obj, "metadata")
    if not metadata.get("deletionTimestamp"):
        return None
    finalizers = metadata.get("finalizers")
    names = [name for name in finalizers if isinstance(name, str)] if isinstance(finalizers, list) else []
    message = f"it is being deleted, and waits for {', '.join(names)}" if names else "it is being deleted"
    return in_progress("Deleted", message)._replace(status=Status.TERMINATING)


def unobserved(obj: Mapping[str, Any]) -> Health | None:
    """InProgress, if its controller hasn't seen the object as it is now."""
    generation = whole(mapping(obj, "metadata"), "generation", -1)
    observed = whole(mapping(obj, "status"), "observedGeneration", -1)
    if generation < 0 or observed < 0 or observed == generation:
        return None
    return in_progress("Unobserved", f"its controller has seen generation {observed} of {generation}")


def standard(obj: Mapping[str, Any]) -> Health | None:
    """What kstatus' own conditions say, Reconciling and Stalled: the first that holds."""
    for found in conditions(mapping(obj, "status")):
        if found.type == "Reconciling" and found.holds:
            return in_progress(found.reason or "Reconciling", found.message)
        if found.type == "Stalled" and found.holds:
            return failed(found.reason or "Stalled", found.message)
    return None


def ready(obj: Mapping[str, Any]) -> Health:
    """By the Ready condition. An object without one is taken as Current, as in kstatus: it can't be told from one that
    never gets one."""
    found = condition(mapping(obj, "status"), "Ready")
    if found is None or found.status not in ("True", "False", "Unknown"):
        return CURRENT
    generation = whole(mapping(obj, "metadata"), "generation", -1)
    if 0 <= found.observed_generation < generation:
        return in_progress("Unobserved", f"Ready is of generation {found.observed_generation} of {generation}")
    if found.holds:
        return CURRENT
    return in_progress(found.reason or "NotReady", found.message or f"Ready is {found.status}")


def by_phase(
    obj: Mapping[str, Any], *, current: frozenset[str], bad: frozenset[str], message: str = "message"
) -> Health:
    """By ``status.phase``, for kinds that have no conditions worth reading."""
    status = mapping(obj, "status")
    phase = text(status, "phase")
    said = text(status, message)
    if phase in current:
        return CURRENT
    if phase in bad:
        return failed(text(status, "reason") or phase, said or f"its phase is {phase}")
    return in_progress(phase or "NoPhase", said or (f"its phase is {phase}" if phase else "it has no phase yet"))
