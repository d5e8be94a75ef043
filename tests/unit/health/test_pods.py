"""The one reason that explains most, out of pods' statuses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.health.objects import condition, pod, terminated, waiting
from tests.unit.health.test_kinds import JSON
from workers.health import pods

UNSCHEDULABLE = condition("PodScheduled", "False", "Unschedulable", "0/2 nodes are available: 2 Insufficient cpu.")
RUNNING = {"name": "web", "ready": False, "started": True, "restartCount": 0, "state": {"running": {}}}

CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "an image that can't be pulled": (
        pod(phase="Pending", containerStatuses=[waiting("ErrImagePull", "not found: nginx:0")]),
        "ErrImagePull",
        "container web: not found: nginx:0",
    ),
    "and again": (
        pod(phase="Pending", containerStatuses=[waiting("ImagePullBackOff", 'Back-off pulling image "nginx:0"')]),
        "ImagePullBackOff",
        "Back-off",
    ),
    "a key that is missing": (
        pod(phase="Pending", containerStatuses=[waiting("CreateContainerConfigError", 'secret "x" not found')]),
        "CreateContainerConfigError",
        'secret "x" not found',
    ),
    "a crash": (
        pod(containerStatuses=[waiting("CrashLoopBackOff", restartCount=7, lastState=terminated("Error", 1))]),
        "CrashLoopBackOff",
        "it ended with exit code 1 (7 restarts)",
    ),
    "a signal": (
        pod(containerStatuses=[waiting("CrashLoopBackOff", lastState=terminated("Error", 139, signal=11))]),
        "CrashLoopBackOff",
        "it ended by signal 11",
    ),
    "too little memory, between two tries": (
        pod(containerStatuses=[{**RUNNING, "restartCount": 2, "lastState": terminated("OOMKilled", 137)}]),
        "OOMKilled",
        "more memory than its limit (2 restarts)",
    ),
    "an init container": (
        pod(
            phase="Pending",
            initContainerStatuses=[
                {**waiting("CrashLoopBackOff", lastState=terminated("Error", 2)), "name": "migrate"}
            ],
            containerStatuses=[waiting("PodInitializing")],
        ),
        "CrashLoopBackOff",
        "container migrate: it ended with exit code 2",
    ),
    "a Job's pod": (
        pod(phase="Failed", containerStatuses=[{"name": "web", "state": terminated("Error", 4)}]),
        "Error",
        "container web: it ended with exit code 4",
    ),
    "an eviction": (pod(phase="Failed", reason="Evicted", message="low on memory"), "Evicted", "low on memory"),
    "no node": (pod(phase="Pending", conditions=[UNSCHEDULABLE]), "Unschedulable", "0/2 nodes are available"),
    "a gate": (
        pod(phase="Pending", conditions=[condition("PodScheduled", "False", "SchedulingGated", "gated")]),
        "SchedulingGated",
        "gated",
    ),
    "containers that are being created": (
        pod(phase="Pending", containerStatuses=[waiting("ContainerCreating")]),
        "Pending",
        "aren't running yet",
    ),
    "a readiness probe": (pod(containerStatuses=[RUNNING]), "NotReady", "container web: it runs, but isn't ready"),
    "a startup probe": (pod(containerStatuses=[{**RUNNING, "started": False}]), "NotReady", "startup probe"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_pod(case: str) -> None:
    obj, reason, message = CASES[case]
    found = pods.trouble(obj)
    assert found is not None
    assert found.reason == reason
    assert message in found.message


def test_pods_without_trouble() -> None:
    assert pods.trouble(pod(conditions=[condition("Ready")])) is None
    assert pods.trouble(pod(phase="Succeeded")) is None
    leaving = pod(phase="Pending", conditions=[UNSCHEDULABLE])
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert pods.trouble(leaving) is None
    assert pods.gravest([leaving]) is None


def test_a_cause_goes_before_its_consequence_and_the_others_are_counted() -> None:
    found = pods.gravest(
        [
            pod("a", containerStatuses=[RUNNING]),
            pod("b", phase="Pending", containerStatuses=[waiting("ImagePullBackOff", "no such image")]),
            pod("c", phase="Pending", containerStatuses=[waiting("ImagePullBackOff", "no such image")]),
        ]
    )
    assert found is not None
    assert pods.told(*found) == "ImagePullBackOff: container web: no such image (pod b, and 1 other)"


def test_what_a_container_printed_is_not_repeated() -> None:
    last = terminated("Error", 1, message="password=hunter2")
    found = pods.trouble(pod(containerStatuses=[waiting("CrashLoopBackOff", "back-off 5m0s", lastState=last)]))
    assert found is not None
    assert "hunter2" not in found.message


@given(st.lists(st.fixed_dictionaries({"metadata": JSON, "status": JSON}), max_size=3))
def test_no_pod_is_too_odd(odd: list[dict[str, Any]]) -> None:
    found = pods.gravest(odd)
    assert found is None or pods.told(*found)
