"""Why pods don't run: the one reason that explains most, out of their statuses. Pure.

Reasons are the kubelet's and the scheduler's own words (kubernetes/kubernetes: pkg/kubelet/images/types.go,
pkg/kubelet/container/sync_result.go; the PodScheduled condition). What must hold: no line of a container's log, no value
of an environment variable; messages are those of the pod's status, cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from workers.health.status import condition, mapping, mappings, shortened, text, whole

IMAGE = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
    }
    | {"SignatureValidationFailed"}
)
CONFIGURATION = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "PreStartHookError",
        "PostStartHookError",
    }
    | {"CreatePodSandboxError", "ConfigPodSandboxError"}
)
STARTING = frozenset({"ContainerCreating", "PodInitializing", ""})
"""Waiting reasons of every pod that starts: no trouble, unless it lasts."""
NOT_READY = "NotReady"
PENDING = "Pending"
NO_IMAGE, NOT_CREATED = "its image can't be had", "it can't be created"
VAGUE = frozenset({NOT_READY, PENDING})
"""Reasons that only the pod's events explain: a probe's answer, a volume that can't be mounted."""


class Trouble(NamedTuple):
    """What is wrong with a pod, or with a container of it. ``pod`` and ``uid`` are of that pod."""

    weight: int
    reason: str
    message: str
    pod: str
    uid: str


def trouble(pod: Mapping[str, Any]) -> Trouble | None:
    """The gravest trouble of one pod; None if it runs and is ready, has succeeded, or is being deleted."""
    metadata, status = mapping(pod, "metadata"), mapping(pod, "status")
    phase = text(status, "phase")
    ready = condition(status, "Ready")
    if metadata.get("deletionTimestamp") or phase == "Succeeded" or (ready is not None and ready.holds):
        return None
    found = max(_troubles(phase, status), default=None, key=lambda one: one[0])
    if found is None:
        return None
    return Trouble(found[0], found[1], shortened(found[2]), text(metadata, "name"), text(metadata, "uid"))


def crash_loops(pod: Mapping[str, Any]) -> bool:
    """Does the kubelet hold back a container of it, because it keeps ending?"""
    containers = mappings(mapping(pod, "status"), "containerStatuses")
    return any(text(mapping(one, "state", "waiting"), "reason") == "CrashLoopBackOff" for one in containers)


def gravest(pods: Iterable[Mapping[str, Any]]) -> tuple[Trouble, int] | None:
    """The gravest trouble among ``pods``, and how many of them have this one; None if there is none."""
    troubles = [found for pod in pods if (found := trouble(pod)) is not None]
    if not troubles:
        return None
    worst = max(troubles, key=lambda one: one.weight)
    return worst, sum(1 for one in troubles if one.reason == worst.reason)


def told(found: Trouble, count: int) -> str:
    """For people: ``ImagePullBackOff: container web: Back-off pulling image … (pod web-1, and 2 others)``."""
    others = f", and {count - 1} other{'s' if count > 2 else ''}" if count > 1 else ""
    return f"{found.reason}: {found.message} (pod {found.pod}{others})"


def _troubles(phase: str, status: Mapping[str, Any]) -> Iterator[tuple[int, str, str]]:
    """Each as (weight, reason, message). The weight says which explains more: a cause before its consequence."""
    for container in (*mappings(status, "initContainerStatuses"), *mappings(status, "containerStatuses")):
        yield from _container(container)
    if phase == "Failed":
        yield 40, text(status, "reason") or "PodFailed", text(status, "message") or "the pod failed"
    scheduled = condition(status, "PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        yield 30, scheduled.reason or "Unschedulable", scheduled.message or "no node takes the pod"
    elif phase == "Pending":
        yield 5, PENDING, "its containers aren't running yet"
    elif phase == "Running":
        yield 1, NOT_READY, "it runs, but isn't ready"


def _container(container: Mapping[str, Any]) -> Iterator[tuple[int, str, str]]:
    name = f"container {text(container, 'name')}"
    state, last = mapping(container, "state"), mapping(container, "lastState", "terminated")
    waiting, ended = mapping(state, "waiting"), mapping(state, "terminated")
    reason = text(waiting, "reason")
    said = text(waiting, "message")
    if reason in IMAGE:
        yield 90, reason, f"{name}: {said or NO_IMAGE}"
    elif reason in CONFIGURATION:
        yield 80, reason, f"{name}: {said or NOT_CREATED}"
    elif text(last, "reason") == "OOMKilled" or text(ended, "reason") == "OOMKilled":
        times = whole(container, "restartCount")
        yield 75, "OOMKilled", f"{name}: it took more memory than its limit ({times} restarts)"
    elif reason == "CrashLoopBackOff":
        yield 70, reason, f"{name}: {_ending(last) or said} ({whole(container, 'restartCount')} restarts)"
    elif reason not in STARTING:
        yield 60, reason, f"{name}: {said}"
    elif ended and whole(ended, "exitCode") != 0:
        yield 50, text(ended, "reason") or "Error", f"{name}: {_ending(ended)}"
    elif "running" in state and container.get("started") is False:
        yield 2, NOT_READY, f"{name}: its startup probe hasn't succeeded yet"
    elif "running" in state and container.get("ready") is False:
        yield 2, NOT_READY, f"{name}: it runs, but isn't ready"


def _ending(terminated: Mapping[str, Any]) -> str:
    """How a container ended. Not its termination message: that is the application's own text, and may hold a secret."""
    if not terminated:
        return ""
    if signal := whole(terminated, "signal"):
        return f"it ended by signal {signal}"
    return f"it ended with exit code {whole(terminated, 'exitCode')}"
