"""Health of what runs pods, with statuses as the controllers write them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.health.objects import condition, made, pod, replicas, terminated, waiting
from workers.health.rules import assess
from workers.health.status import Status

CURRENT, IN_PROGRESS, FAILED = Status.CURRENT, Status.IN_PROGRESS, Status.FAILED

AVAILABLE = condition("Available", "True", "MinimumReplicasAvailable")
UNAVAILABLE = condition("Available", "False", "MinimumReplicasUnavailable", "no minimum availability")
DONE = condition("Progressing", "True", "NewReplicaSetAvailable", "has successfully progressed")
ROLLING = condition("Progressing", "True", "ReplicaSetUpdated", "is progressing")
LATE = condition("Progressing", "False", "ProgressDeadlineExceeded", 'ReplicaSet "web-1" has timed out progressing.')
PAUSED = condition("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused")
QUOTA = 'pods "web-x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2'
REFUSED = condition("ReplicaFailure", "True", "FailedCreate", QUOTA)


def deployment(wanted: int, counts: dict[str, Any], *conditions: Any, **spec: Any) -> dict[str, Any]:
    spec = {"replicas": wanted, "progressDeadlineSeconds": 600, **spec}
    return made("apps/v1", "Deployment", spec=spec, status={**counts, "conditions": [*conditions]}, generation=2)


def stateful_set(wanted: int, status: dict[str, Any], **spec: Any) -> dict[str, Any]:
    status = {"currentRevision": "a", "updateRevision": "a", **status}
    return made("apps/v1", "StatefulSet", spec={"replicas": wanted, **spec}, status=status, generation=1)


def counted(there: int, ready: int, current: int, updated: int) -> dict[str, Any]:
    return {"replicas": there, "readyReplicas": ready, "currentReplicas": current, "updatedReplicas": updated}


def daemon_set(wanted: int, current: int, updated: int, ready: int, **spec: Any) -> dict[str, Any]:
    status = {
        "desiredNumberScheduled": wanted,
        "currentNumberScheduled": current,
        "updatedNumberScheduled": updated,
        "numberReady": ready,
        "numberAvailable": ready,
    }
    return made("apps/v1", "DaemonSet", spec=spec, status=status, generation=1)


def replica_set(wanted: int, labelled: int, ready: int, there: int, *conditions: Any) -> dict[str, Any]:
    status = {
        "replicas": there,
        "fullyLabeledReplicas": labelled,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "conditions": [*conditions],
    }
    return made("apps/v1", "ReplicaSet", spec={"replicas": wanted}, status=status, generation=1)


def job(*conditions: Any, status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return made("batch/v1", "Job", spec=spec, status={**(status or {}), "conditions": [*conditions]})


STARTED = {"startTime": "2026-01-01T00:00:00Z", "active": 1}
PARTITION = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}
ON_DELETE = {"updateStrategy": {"type": "OnDelete"}}
NEW_REVISION = {"updateRevision": "b"}

CASES: dict[str, tuple[dict[str, Any], Status, str]] = {
    "a Deployment that its controller hasn't touched": (deployment(3, {}), IN_PROGRESS, "0 of 3 replicas are created"),
    "that has just begun": (deployment(3, replicas(1, 1, 0, 0), ROLLING, UNAVAILABLE), IN_PROGRESS, "1 of 3 replicas"),
    "that is partially updated": (
        deployment(3, replicas(4, 2, 3, 3), ROLLING, AVAILABLE),
        IN_PROGRESS,
        "2 of 3 replicas are updated",
    ),
    "whose old pods are still there": (
        deployment(3, replicas(4, 3, 4, 4), ROLLING, AVAILABLE),
        IN_PROGRESS,
        "1 old replicas are still there",
    ),
    "whose new pods aren't available": (
        deployment(3, replicas(3, 3, 1, 1), ROLLING, UNAVAILABLE),
        IN_PROGRESS,
        "1 of 3 replicas are available",
    ),
    "that waits for the controller's verdict": (
        deployment(3, replicas(3, 3, 3, 3), ROLLING, AVAILABLE),
        IN_PROGRESS,
        "is progressing",
    ),
    "that is rolled out": (deployment(3, replicas(3, 3, 3, 3), DONE, AVAILABLE), CURRENT, ""),
    "without a deadline": (
        deployment(3, replicas(3, 3, 3, 3), AVAILABLE, progressDeadlineSeconds=2**31 - 1),
        CURRENT,
        "",
    ),
    "that is late": (deployment(3, replicas(4, 1, 3, 3), LATE, AVAILABLE), FAILED, "has timed out progressing"),
    "scaled to 0": (deployment(0, {}, DONE, AVAILABLE), CURRENT, ""),
    "on its way to 0": (deployment(0, replicas(2, 2, 2, 2), DONE, AVAILABLE), IN_PROGRESS, "2 old replicas"),
    "that lost its pods after its rollout": (
        deployment(2, replicas(2, 2, 0, 0), DONE, UNAVAILABLE),
        IN_PROGRESS,
        "0 of 2 replicas are available",
    ),
    "that hits a quota": (deployment(3, replicas(2, 2, 2, 2), ROLLING, REFUSED, AVAILABLE), IN_PROGRESS, QUOTA),
    "paused after its rollout": (
        deployment(3, replicas(3, 3, 3, 3), PAUSED, AVAILABLE, paused=True),
        CURRENT,
        "",
    ),
    "paused within its rollout": (
        deployment(3, replicas(3, 1, 3, 3), PAUSED, AVAILABLE, paused=True),
        IN_PROGRESS,
        "the rollout is paused: 1 of 3",
    ),
    "a StatefulSet that creates its pods": (
        stateful_set(3, counted(1, 1, 1, 1)),
        IN_PROGRESS,
        "1 of 3 replicas are created",
    ),
    "whose pods start": (stateful_set(3, counted(3, 2, 3, 3)), IN_PROGRESS, "2 of 3 replicas are ready"),
    "that is scaled down": (stateful_set(1, counted(2, 2, 2, 2)), IN_PROGRESS, "1 old replicas"),
    "that is updated in part": (
        stateful_set(3, {**counted(3, 3, 2, 1), **NEW_REVISION}),
        IN_PROGRESS,
        "1 of 3 replicas are updated",
    ),
    "whose revisions differ": (stateful_set(3, {**counted(3, 3, 3, 3), **NEW_REVISION}), IN_PROGRESS, "updated"),
    "that is complete": (stateful_set(3, counted(3, 3, 3, 3)), CURRENT, ""),
    "a StatefulSet of 0": (stateful_set(0, {}), CURRENT, ""),
    "whose partition is updated": (stateful_set(3, {**counted(3, 3, 2, 1), **NEW_REVISION}, **PARTITION), CURRENT, ""),
    "whose partition isn't": (
        stateful_set(3, {**counted(3, 3, 3, 0), **NEW_REVISION}, **PARTITION),
        IN_PROGRESS,
        "0 of 1 replicas are updated",
    ),
    "with OnDelete and old pods": (stateful_set(3, {**counted(3, 3, 3, 0), **NEW_REVISION}, **ON_DELETE), CURRENT, ""),
    "with OnDelete and dead pods": (stateful_set(3, counted(3, 0, 3, 3), **ON_DELETE), IN_PROGRESS, "0 of 3"),
    "whose pods must be ready for a while": (
        stateful_set(2, {**counted(2, 2, 2, 2), "availableReplicas": 1}, minReadySeconds=30),
        IN_PROGRESS,
        "1 of 2 replicas are available",
    ),
    "a DaemonSet that isn't observed": (made("apps/v1", "DaemonSet"), IN_PROGRESS, "hasn't seen it"),
    "that is scheduled in part": (daemon_set(3, 2, 2, 2), IN_PROGRESS, "2 of 3 replicas are scheduled"),
    "that rolls": (daemon_set(3, 3, 1, 3), IN_PROGRESS, "1 of 3 replicas are updated"),
    "whose pods aren't ready": (daemon_set(3, 3, 3, 2), IN_PROGRESS, "2 of 3 replicas are available"),
    "of no node": (daemon_set(0, 0, 0, 0), CURRENT, ""),
    "on every node": (daemon_set(3, 3, 3, 3), CURRENT, ""),
    "updated by hand": (daemon_set(3, 3, 1, 3, **ON_DELETE), CURRENT, ""),
    "a ReplicaSet that hits a quota": (replica_set(3, 2, 2, 2, REFUSED), IN_PROGRESS, QUOTA),
    "whose pod isn't ready": (replica_set(1, 1, 0, 1), IN_PROGRESS, "0 of 1 replicas are available"),
    "with a pod too many": (replica_set(1, 2, 2, 2), IN_PROGRESS, "1 old replicas"),
    "that is there": (replica_set(2, 2, 2, 2), CURRENT, ""),
    "a Job that waits": (job(), IN_PROGRESS, "hasn't started"),
    "that runs": (job(status=STARTED, completions=2), IN_PROGRESS, "0 of 2 completions"),
    "that retries": (job(status={**STARTED, "failed": 2}), IN_PROGRESS, "0 of 1 completions, 2 pods failed"),
    "that is done": (job(condition("SuccessCriteriaMet"), condition("Complete"), status=STARTED), CURRENT, ""),
    "that failed": (
        job(condition("Failed", "True", "BackoffLimitExceeded", "Job has reached the specified backoff limit")),
        FAILED,
        "backoff limit",
    ),
    "that is about to fail": (
        job(condition("FailureTarget", "True", "DeadlineExceeded", "Job was active longer"), status=STARTED),
        FAILED,
        "active longer",
    ),
    "that is suspended": (job(condition("Suspended"), suspend=True), CURRENT, "it is suspended"),
    "that was resumed": (job(condition("Suspended", "False"), status=STARTED, suspend=False), IN_PROGRESS, "0 of 1"),
    "a Pod that nobody has seen": (pod(phase=""), IN_PROGRESS, "its node hasn't seen it yet"),
    "that is ready": (pod(conditions=[condition("Ready")]), CURRENT, ""),
    "that succeeded": (pod(phase="Succeeded"), CURRENT, ""),
    "a Pod that was evicted": (
        pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."),
        FAILED,
        "low on resource",
    ),
    "that no node takes": (
        pod(
            phase="Pending",
            conditions=[
                condition("PodScheduled", "False", "Unschedulable", "0/2 nodes are available: 2 Insufficient cpu.")
            ],
        ),
        IN_PROGRESS,
        "0/2 nodes are available",
    ),
    "that crashes": (
        pod(containerStatuses=[waiting("CrashLoopBackOff", restartCount=4, lastState=terminated("Error", 3))]),
        FAILED,
        "it ended with exit code 3 (4 restarts)",
    ),
    "that takes too much memory": (
        pod(containerStatuses=[waiting("CrashLoopBackOff", lastState=terminated("OOMKilled", 137))]),
        FAILED,
        "more memory than its limit",
    ),
    "that probes fail": (
        pod(containerStatuses=[{"name": "web", "ready": False, "started": True, "state": {"running": {}}}]),
        IN_PROGRESS,
        "it runs, but isn't ready",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_workload(case: str) -> None:
    obj, status, message = CASES[case]
    health = assess(obj)
    assert health.status == status, health
    assert message in health.message
    assert status == CURRENT or (health.reason and health.message)


def test_a_replication_controller_is_told_like_a_replica_set() -> None:
    obj = made("v1", "ReplicationController", spec={"replicas": 1}, status={"conditions": [REFUSED]})
    assert assess(obj).reason == "FailedCreate"
