"""Health on a real control plane: its controllers write the statuses, its scheduler and quotas the reasons."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import orjson
import pytest

from tests.integration.kube.conftest import Harness
from windlass.documents.types import Cluster
from windlass.secrets import Secrets
from workers.health.diagnose import diagnose
from workers.health.rules import assess
from workers.health.status import Health, Status
from workers.kube.connect import Connection, client_of
from workers.kube.transport import KubeClient

SECONDS = 60.0
"""For a controller to act, on a busy machine."""


async def until(kube: Harness, body: dict[str, Any], wanted: Callable[[Health], bool]) -> dict[str, Any]:
    """The object, once its health is as ``wanted``."""
    health = None
    async with asyncio.timeout(SECONDS):
        try:
            while True:
                obj = await kube.live(body)
                if wanted(health := assess(obj)):
                    return obj
                await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"it stayed {health}") from None


async def told(kube: Harness, body: dict[str, Any], part: str) -> str:
    """The diagnosis, once ``part`` is in it."""
    said = ""
    try:
        async with asyncio.timeout(SECONDS):
            while True:
                said = await diagnose(kube.client, await kube.live(body))
                if part in said:
                    return said
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"the diagnosis stayed {said!r}") from None


def current(health: Health) -> bool:
    return health.status == Status.CURRENT


def quota(kube: Harness, pods: int) -> dict[str, Any]:
    metadata = {"name": "few", "namespace": kube.namespace}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": {"pods": str(pods)}}}


def asking(body: dict[str, Any], cpu: str) -> dict[str, Any]:
    [container] = body["spec"]["template"]["spec"]["containers"]
    container["resources"] = {"requests": {"cpu": cpu}}
    return body


async def in_force(kube: Harness, body: dict[str, Any]) -> None:
    """A quota counts once its controller has."""
    async with asyncio.timeout(SECONDS):
        while not (await kube.live(body)).get("status", {}).get("hard"):
            await asyncio.sleep(0.1)


async def test_a_deployment_rolls_out_and_becomes_current(kube: Harness) -> None:
    body = kube.deployment(replicas=2)
    created = await kube.create_as("kubectl", body)
    assert assess(created).status == Status.IN_PROGRESS
    obj = await until(kube, body, current)
    assert obj["status"]["availableReplicas"] == 2
    assert await diagnose(kube.client, obj) == ""


async def test_no_node_is_large_enough_and_then_less_is_asked_for(kube: Harness) -> None:
    body = asking(kube.deployment(replicas=2), "100")
    await kube.create_as("kubectl", body)
    said = await told(kube, body, "Unschedulable: 0/")
    assert "Insufficient cpu" in said
    assert "(pod web-" in said
    assert assess(await kube.live(body)).status == Status.IN_PROGRESS
    await kube.edit_as("kubectl", body, {"spec": asking(kube.deployment(replicas=2), "1")["spec"]})
    await until(kube, body, current)


async def test_it_fails_when_it_makes_no_progress(kube: Harness) -> None:
    body = asking(kube.deployment(progressDeadlineSeconds=1), "100")
    await kube.create_as("kubectl", body)
    obj = await until(kube, body, lambda health: health.status == Status.FAILED)
    assert assess(obj).reason == "ProgressDeadlineExceeded"
    assert (await diagnose(kube.client, obj)).startswith("Unschedulable: 0/")


async def test_only_the_new_pods_explain_a_rollout(kube: Harness) -> None:
    """The old ReplicaSet's pods run; their names and troubles are not this rollout's."""
    body = kube.deployment(replicas=1)
    await kube.create_as("kubectl", body)
    await until(kube, body, current)
    [old] = (await kube.client.request("GET", f"/api/v1/namespaces/{kube.namespace}/pods")).json()["items"]
    await kube.edit_as("kubectl", body, {"spec": asking(kube.deployment(replicas=1), "100")["spec"]})
    said = await told(kube, body, "Unschedulable")
    assert old["metadata"]["name"] not in said


async def test_a_quota_is_named_by_the_object_itself_and_nothing_else_is_read(kube: Harness) -> None:
    few = quota(kube, 1)
    await kube.create_as("kubectl", few)
    await in_force(kube, few)
    body = kube.deployment(replicas=2)
    await kube.create_as("kubectl", body)
    obj = await until(kube, body, lambda health: health.reason == "FailedCreate")
    assert "exceeded quota: few" in assess(obj).message
    nowhere = KubeClient("https://127.0.0.1:1")
    assert "FailedCreate: pods" in await diagnose(nowhere, obj)
    await kube.edit_as("kubectl", few, {"spec": {"hard": {"pods": "5"}}})
    await kube.edit_as("kubectl", body, {"spec": {"replicas": 3}})  # the controller's own retry backs off for minutes
    await until(kube, body, current)


async def test_a_stateful_set_has_only_events_to_say_it_by(kube: Harness) -> None:
    few = quota(kube, 0)
    await kube.create_as("kubectl", few)
    await in_force(kube, few)
    body = {**kube.deployment("db"), "kind": "StatefulSet"}
    body["spec"]["serviceName"] = "db"
    await kube.create_as("kubectl", body)
    said = await told(kube, body, "exceeded quota: few")
    assert said.startswith("FailedCreate: ")
    assert assess(await kube.live(body)).status == Status.IN_PROGRESS


async def test_an_image_that_cannot_be_pulled_as_a_kubelet_says_it(kube: Harness) -> None:
    body = kube.deployment()
    state = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "nginx:1"'}}
    pod = await not_ready(kube, body, state)
    obj = await until(kube, body, lambda health: health.status == Status.IN_PROGRESS)
    assert "0 of 1 replicas are available" in assess(obj).message
    said = await diagnose(kube.client, obj)
    assert said == f'ImagePullBackOff: container web: Back-off pulling image "nginx:1" (pod {pod["metadata"]["name"]})'


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Readiness probe failed: HTTP probe failed with statuscode: 503", "HTTP probe failed with statuscode: 503"),
        ("Readiness probe failed: could not log in with hunter2", "Unhealthy: Readiness probe failed (pod"),
    ],
)
async def test_a_probe_that_fails_is_told_by_the_kubelets_event(kube: Harness, message: str, said: str) -> None:
    """What an exec probe printed is the container's own text, and isn't repeated."""
    body = kube.deployment()
    pod = await not_ready(kube, body, {"running": {"startedAt": "2026-01-01T00:00:00Z"}})
    obj = await until(kube, body, lambda health: health.status == Status.IN_PROGRESS)
    assert (await diagnose(kube.client, obj)).startswith("NotReady: container web: it runs, but isn't ready")
    await kube.create_as("kubelet", event(pod, "2026-01-01T00:00:00Z", "Readiness probe failed: dial tcp: too early"))
    await kube.create_as("kubelet", event(pod, "2026-01-01T00:05:00Z", message))
    told = await diagnose(kube.client, obj)
    assert said in told
    assert "hunter2" not in told


async def test_pods_that_may_not_be_read_are_no_error(kube: Harness, cluster: Cluster, connection: Connection) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "poor", "namespace": kube.namespace}}
    await kube.create_as("kubectl", account)
    path = f"/api/v1/namespaces/{kube.namespace}/serviceaccounts/poor/token"
    token = (await kube.client.request("POST", path, body=b'{"spec": {}}')).json()["status"]["token"]
    poor = msgspec.structs.replace(connection, certificate=None, key=None, authorization=f"Bearer {token}")
    client = await client_of(poor, cluster, Secrets())
    body = asking(kube.deployment(), "100")
    said = await diagnose(client, await kube.create_as("kubectl", body))
    await client.close()
    assert said.startswith("why isn't known: replicasets.apps is forbidden")


async def not_ready(kube: Harness, body: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """A Deployment's one pod, rolled out, then as its kubelet reports a container that isn't ready any more."""
    await kube.create_as("kubectl", body)
    await until(kube, body, current)
    pods = f"/api/v1/namespaces/{kube.namespace}/pods"
    pod: dict[str, Any]
    [pod] = (await kube.client.request("GET", pods)).json()["items"]
    status = {**pod["status"]["containerStatuses"][0], "ready": False, "state": state}
    conditions = [{**one, "status": "False"} if "Ready" in one["type"] else one for one in pod["status"]["conditions"]]
    await kube.client.request(
        "PATCH",
        f"{pods}/{pod['metadata']['name']}/status",
        body=orjson.dumps({"status": {"containerStatuses": [status], "conditions": conditions}}),
        content_type="application/merge-patch+json",
    )
    return pod


def event(pod: dict[str, Any], time: str, message: str) -> dict[str, Any]:
    names = {field: pod["metadata"][field] for field in ("name", "namespace", "uid")}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"probe-{time[14:16]}", "namespace": names["namespace"]},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", **names},
        "type": "Warning",
        "reason": "Unhealthy",
        "message": message,
        "lastTimestamp": time,
    }


async def test_a_job_runs_to_its_end(kube: Harness) -> None:
    template = {"restartPolicy": "Never", "containers": [{"name": "migrate", "image": "migrate:1"}]}
    metadata = {"name": "migrate", "namespace": kube.namespace}
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {"template": {"spec": template}},
    }
    created = await kube.create_as("kubectl", body)
    assert assess(created).status == Status.IN_PROGRESS
    await until(kube, body, current)


async def test_a_claim_waits_without_failing(kube: Harness) -> None:
    metadata = {"name": "disk", "namespace": kube.namespace}
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "none",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    body = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
    await kube.create_as("kubectl", body)
    obj = await until(kube, body, lambda health: health.message.endswith("Pending"))
    assert assess(obj).status == Status.IN_PROGRESS
    assert "none" in await told(kube, body, "ProvisioningFailed")


async def test_what_waits_for_its_finalizer_is_terminating(kube: Harness) -> None:
    body = kube.config_map("kept")
    body["metadata"]["finalizers"] = ["example.com/wait"]
    await kube.create_as("kubectl", body)
    await kube.client.request("DELETE", await kube.path(body))
    health = assess(await kube.live(body))
    assert health.status == Status.TERMINATING
    assert "example.com/wait" in health.message
    await kube.edit_as("kubectl", body, {"metadata": {"finalizers": None}})
