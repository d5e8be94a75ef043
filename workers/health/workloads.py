"""Health of what runs pods: how far a rollout is, and what its controller says against it. Pure.

The rules are kstatus' (sigs.k8s.io/cli-utils/pkg/kstatus/status, core.go), and the fields those of the API reference of
apps/v1, batch/v1 and core/v1. Where Windlass differs, it is because an application that waits for its objects needs
another answer:

- A Job is Current once it is complete (or suspended), not as soon as it runs; Flux and Argo CD do so too.
- A Pod that ended in failure is Failed. One that no node takes is InProgress, however long: a node may be on its way, and
  health must not depend on a clock that no event accompanies.
- A paused Deployment is Current if it is rolled out. With `OnDelete`, old pods are somebody's choice, but pods that aren't
  ready are not.
- What a controller says about pods that it can't create (`ReplicaFailure`: a quota, an admission policy) is the message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workers.health import pods
from workers.health.status import CURRENT, Health, condition, failed, in_progress, mapping, text, whole

NO_DEADLINE = 2**31 - 1
"""``progressDeadlineSeconds`` with which the controller writes no Progressing condition; absent means the same here."""


def deployment(obj: Mapping[str, Any]) -> Health:
    spec, status = mapping(obj, "spec"), mapping(obj, "status")
    progressing, available = condition(status, "Progressing"), condition(status, "Available")
    if progressing is not None and progressing.reason == "ProgressDeadlineExceeded":
        return failed(progressing.reason, progressing.message or "no progress within progressDeadlineSeconds")
    wanted, updated = whole(spec, "replicas", 1), whole(status, "updatedReplicas")
    paused = spec.get("paused") is True
    if updated < wanted and paused:
        return in_progress("Paused", f"the rollout is paused: {updated} of {wanted} replicas are updated")
    if unfinished := rollout(wanted, status):
        return replica_failure(status) or unfinished
    deadline = whole(spec, "progressDeadlineSeconds", NO_DEADLINE)
    done = progressing is not None and progressing.holds and progressing.reason == "NewReplicaSetAvailable"
    if not (done or paused or deadline == NO_DEADLINE):
        return in_progress("NotRolledOut", (progressing.message if progressing else "") or "its rollout isn't complete")
    if available is None or not available.holds:
        return in_progress("NotAvailable", (available.message if available else "") or "it isn't available yet")
    return CURRENT


def rollout(wanted: int, status: Mapping[str, Any]) -> Health | None:
    """What a rollout of ``wanted`` replicas still waits for: a Deployment's counters, and a DeploymentConfig's."""
    there, updated = whole(status, "replicas"), whole(status, "updatedReplicas")
    if there < wanted:
        return _short(there, wanted, "created")
    if updated < wanted:
        return _short(updated, wanted, "updated")
    if there > wanted:
        return _extra(there - wanted)
    available = whole(status, "availableReplicas")
    if available < updated:
        return _short(available, updated, "available")
    ready = whole(status, "readyReplicas")
    return _short(ready, wanted, "ready") if ready < wanted else None


def replica_set(obj: Mapping[str, Any]) -> Health:
    """Also a ReplicationController: it has the same fields."""
    spec, status = mapping(obj, "spec"), mapping(obj, "status")
    if refused := replica_failure(status):
        return refused
    wanted = whole(spec, "replicas", 1)
    counts = {
        "created": whole(status, "fullyLabeledReplicas"),
        "available": whole(status, "availableReplicas"),
        "ready": whole(status, "readyReplicas"),
    }
    for word, count in counts.items():
        if count < wanted:
            return _short(count, wanted, word)
    there = whole(status, "replicas")
    return _extra(there - wanted) if there > wanted else CURRENT


def stateful_set(obj: Mapping[str, Any]) -> Health:
    """Its controller writes no conditions: it is never Failed."""
    spec, status = mapping(obj, "spec"), mapping(obj, "status")
    strategy = mapping(spec, "updateStrategy")
    wanted, there = whole(spec, "replicas", 1), whole(status, "replicas")
    if there < wanted:
        return _short(there, wanted, "created")
    ready = whole(status, "readyReplicas")
    if ready < wanted:
        return _short(ready, wanted, "ready")
    if there > wanted:
        return _extra(there - wanted)
    available = whole(status, "availableReplicas")
    if whole(spec, "minReadySeconds") > 0 and available < wanted:
        return _short(available, wanted, "available")
    if text(strategy, "type") == "OnDelete":
        return CURRENT
    updated = whole(status, "updatedReplicas")
    partition = whole(mapping(strategy, "rollingUpdate"), "partition", -1)
    if partition >= 0:
        target = max(wanted - partition, 0)
        return _short(updated, target, "updated (above the partition)") if updated < target else CURRENT
    if whole(status, "currentReplicas") < wanted or text(status, "currentRevision") != text(status, "updateRevision"):
        return _short(updated, wanted, "updated")
    return CURRENT


def daemon_set(obj: Mapping[str, Any]) -> Health:
    spec, status = mapping(obj, "spec"), mapping(obj, "status")
    wanted = whole(status, "desiredNumberScheduled", -1)
    if wanted < 0 or whole(status, "observedGeneration", -1) < 0:
        return in_progress("Unobserved", "its controller hasn't seen it yet")
    counts = {
        "scheduled": whole(status, "currentNumberScheduled"),
        "updated": whole(status, "updatedNumberScheduled"),
        "available": whole(status, "numberAvailable"),
        "ready": whole(status, "numberReady"),
    }
    if text(mapping(spec, "updateStrategy"), "type") == "OnDelete":
        del counts["updated"]
    for word, count in counts.items():
        if count < wanted:
            return _short(count, wanted, word)
    return CURRENT


def job(obj: Mapping[str, Any]) -> Health:
    spec, status = mapping(obj, "spec"), mapping(obj, "status")
    wrong = condition(status, "Failed") or condition(status, "FailureTarget")
    if wrong is not None and wrong.holds:
        return failed(wrong.reason or "JobFailed", wrong.message or "the Job failed")
    complete, suspended = condition(status, "Complete"), condition(status, "Suspended")
    if complete is not None and complete.holds:
        return CURRENT
    if suspended is not None and suspended.holds and spec.get("suspend") is True:
        return CURRENT._replace(reason="Suspended", message="it is suspended")
    if not text(status, "startTime"):
        return in_progress("NotStarted", "it hasn't started")
    done, tries = whole(status, "succeeded"), whole(status, "failed")
    wanted = whole(spec, "completions", whole(spec, "parallelism", 1))
    after = f", {tries} pods failed" if tries else ""
    return in_progress("Running", f"{done} of {wanted} completions{after}")


def pod(obj: Mapping[str, Any]) -> Health:
    status = mapping(obj, "status")
    phase = text(status, "phase")
    ready = condition(status, "Ready")
    if phase == "Succeeded" or (phase == "Running" and ready is not None and ready.holds):
        return CURRENT
    trouble = pods.trouble(obj)
    if trouble is None:
        return in_progress(phase or "NoPhase", "it isn't ready yet" if phase else "its node hasn't seen it yet")
    if phase == "Failed" or pods.crash_loops(obj):
        return failed(trouble.reason, trouble.message)
    return in_progress(trouble.reason, trouble.message)


def replica_failure(status: Mapping[str, Any]) -> Health | None:
    """What keeps the controller from creating pods: most often a quota or an admission policy."""
    found = condition(status, "ReplicaFailure")
    if found is None or not found.holds:
        return None
    return in_progress(found.reason or "ReplicaFailure", found.message or "pods can't be created")


def _short(count: int, wanted: int, word: str) -> Health:
    return in_progress("TooFew", f"{count} of {wanted} replicas are {word}")


def _extra(count: int) -> Health:
    return in_progress("TooMany", f"{count} old replicas are still there")
