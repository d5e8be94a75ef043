"""Objects as controllers leave them: a few words a case, instead of whole manifests."""

from __future__ import annotations

from typing import Any


def condition(kind: str, status: str = "True", reason: str = "", message: str = "", **more: Any) -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message, **more}


def made(
    api_version: str,
    kind: str,
    *,
    spec: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    generation: int | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    """An object; ``generation`` is both the object's and the observed one."""
    meta: dict[str, Any] = {"name": "web", "namespace": "shop", "uid": "u-web", **metadata}
    seen = dict(status or {})
    if generation is not None:
        meta["generation"] = generation
        seen.setdefault("observedGeneration", generation)
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, "spec": spec or {}, "status": seen}


def replicas(total: int, updated: int, ready: int, available: int) -> dict[str, Any]:
    """A Deployment's counters. The controller leaves out those that are 0."""
    counts = {"replicas": total, "updatedReplicas": updated, "readyReplicas": ready, "availableReplicas": available}
    return {field: count for field, count in counts.items() if count}


def pod(name: str = "web-1", *, phase: str = "Running", owner: str = "", **status: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "shop", "uid": f"u-{name}"}
    if owner:
        metadata["ownerReferences"] = [{"kind": "ReplicaSet", "uid": owner, "controller": True}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"phase": phase, **status}}


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"name": "web", "ready": False, "restartCount": 0, "state": state, **more}


def terminated(reason: str, code: int, **more: Any) -> dict[str, Any]:
    return {"terminated": {"reason": reason, "exitCode": code, **more}}
