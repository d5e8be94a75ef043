"""Why a workload doesn't get there: read from its pods, and from events where the pods don't say it.

What must hold: nothing is read but for an object whose health is bad, and then one page of each list: a Deployment costs
two lists (its ReplicaSets' metadata, the current one's pods), any other workload one, and vague reasons (a probe fails, a
volume can't be mounted, a StatefulSet's pods are refused) one more for events. What a container printed is never repeated:
an exec probe's output may hold anything.

The ways from a workload to its pods are its controller's: label selector and controller reference; for a Deployment the
label ``pod-template-hash`` of the ReplicaSet with the highest ``deployment.kubernetes.io/revision``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import structlog

from workers.health import pods
from workers.health.status import mapping, mappings, shortened, text, whole
from workers.health.workloads import replica_failure
from workers.kube.discovery import Resource
from workers.kube.errors import ApiError
from workers.kube.keys import group_of
from workers.kube.transport import METADATA_LIST, KubeClient

log = structlog.get_logger(__name__)

POD = Resource("", "v1", "Pod", "pods", True, frozenset())
EVENT = Resource("", "v1", "Event", "events", True, frozenset())
REPLICA_SET = Resource("apps", "v1", "ReplicaSet", "replicasets", True, frozenset())
OPENSHIFT = "DeploymentConfig.apps.openshift.io"
WORKLOADS = frozenset(
    {"Deployment.apps", "ReplicaSet.apps", "StatefulSet.apps", "DaemonSet.apps", "Job.batch", "ReplicationController"}
    | {OPENSHIFT}
)
"""Kinds whose ``spec.selector`` selects their own pods. A Service's does not."""
PAGE = "250"
"""Pods, or events, that are looked at: a workload that fails does so in its first ones, and 250 pods are some 2 MB."""
REVISION = "deployment.kubernetes.io/revision"

_OWN_WORDS = re.compile(
    r'HTTP probe failed with statuscode|Get "|dial tcp|command timed out|context deadline exceeded|timeout:|service unhealthy'
)
"""What the kubelet itself says of a failed probe (kubernetes/kubernetes: pkg/probe); anything else is the container's."""


async def diagnose(client: KubeClient, obj: Mapping[str, Any]) -> str:
    """The reason for which ``obj`` (whole, as the API server answers it) isn't Current, in a line; "" if none is found.

    :raises UnreachableError: as `KubeClient.request`. What may not be read is said in the answer instead.
    """
    if refused := replica_failure(mapping(obj, "status")):
        return f"{refused.reason}: {refused.message}"
    try:
        return await _workload(client, obj)
    except ApiError as error:
        log.info("health.undiagnosed", kind=text(obj, "kind"), status=error.status, reason=error.reason)
        return f"why isn't known: {shortened(error.message)}"


async def _workload(client: KubeClient, obj: Mapping[str, Any]) -> str:
    found = pods.gravest(await _pods(client, obj))
    if found is None:
        return await _event(client, mapping(obj, "metadata"))
    trouble, count = found
    if trouble.reason in pods.VAGUE:
        metadata = {"namespace": text(mapping(obj, "metadata"), "namespace"), "uid": trouble.uid}
        if said := await _event(client, metadata):
            reason, _, message = said.partition(": ")
            trouble = trouble._replace(reason=reason, message=message)
    return pods.told(trouble, count)


async def _pods(client: KubeClient, obj: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    metadata, status = mapping(obj, "metadata"), mapping(obj, "status")
    group, kind = group_of(text(obj, "apiVersion")), text(obj, "kind")
    group_kind = f"{kind}.{group}" if group else kind
    if group_kind == "Pod":
        return [obj]
    selector = _selector(mapping(obj, "spec", "selector"))
    if group_kind not in WORKLOADS or not selector:
        return []
    namespace, owner = text(metadata, "namespace"), ("uid", text(metadata, "uid"))
    if group_kind == "Deployment.apps":
        current = await _current_replica_set(client, namespace, selector, owner)
        if current is None:
            return []
        owner = ("uid", text(current, "uid"))
        selector += f",pod-template-hash={text(mapping(current, 'labels'), 'pod-template-hash')}"
    elif group_kind == OPENSHIFT:  # its ReplicationControllers are named for their rollout
        owner = ("name", f"{text(metadata, 'name')}-{whole(status, 'latestVersion')}")
    found = await _listed(client, POD, namespace, {"labelSelector": selector})
    return [pod for pod in found if _owned(mapping(pod, "metadata"), owner)]


async def _current_replica_set(
    client: KubeClient, namespace: str, selector: str, owner: tuple[str, str]
) -> Mapping[str, Any] | None:
    """The metadata of a Deployment's newest ReplicaSet."""
    found = await _listed(client, REPLICA_SET, namespace, {"labelSelector": selector}, accept=METADATA_LIST)
    owned = [metadata for item in found if _owned(metadata := mapping(item, "metadata"), owner)]
    return max(owned, key=_revision, default=None)


def _revision(metadata: Mapping[str, Any]) -> int:
    revision = text(mapping(metadata, "annotations"), REVISION)
    return int(revision) if revision.isdecimal() else 0


async def _event(client: KubeClient, metadata: Mapping[str, Any]) -> str:
    """The latest warning about an object, as "reason: message"; "" if there is none."""
    uid, namespace = text(metadata, "uid"), text(metadata, "namespace")
    if not uid:
        return ""
    selector = {"fieldSelector": f"involvedObject.uid={uid},type=Warning"}
    events = await _listed(client, EVENT, namespace or "default", selector)
    latest = max(events, key=_when, default=None)
    return "" if latest is None else f"{text(latest, 'reason')}: {_without_output(text(latest, 'message'))}"


def _when(event: Mapping[str, Any]) -> str:
    """To the second: RFC 3339 texts in UTC compare as times do."""
    times = (mapping(event, "series").get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return max((time[:19] for time in times if isinstance(time, str)), default="")


def _without_output(message: str) -> str:
    probe, found, said = message.partition(" probe failed: ")
    if found and not _OWN_WORDS.match(said):
        return f"{shortened(probe)} probe failed"
    return shortened(message)


async def _listed(
    client: KubeClient, resource: Resource, namespace: str, params: dict[str, str], accept: str = "application/json"
) -> list[Mapping[str, Any]]:
    """One page."""
    answer = await client.request("GET", resource.path(namespace), params={**params, "limit": PAGE}, accept=accept)
    return list(mappings(answer.json(), "items"))


def _owned(metadata: Mapping[str, Any], owner: tuple[str, str]) -> bool:
    """Is ``owner`` (a field of the reference, and its value) the controller?"""
    field, value = owner
    references = mappings(metadata, "ownerReferences")
    return any(one.get("controller") is True and text(one, field) == value for one in references)


def _selector(selector: Mapping[str, Any]) -> str:
    """A label selector as a query takes it; of a ReplicationController (and a DeploymentConfig) it is the labels alone."""
    if "matchLabels" not in selector and "matchExpressions" not in selector:
        return ",".join(f"{name}={value}" for name, value in selector.items() if isinstance(value, str))
    terms = [f"{name}={value}" for name, value in mapping(selector, "matchLabels").items()]
    for one in mappings(selector, "matchExpressions"):
        key, operator = text(one, "key"), text(one, "operator")
        values = one.get("values")
        listed = f"({','.join(map(str, values))})" if isinstance(values, list) else ""
        terms.append({"Exists": key, "DoesNotExist": f"!{key}"}.get(operator, f"{key} {operator.lower()} {listed}"))
    return ",".join(terms)
