"""Each immutable field's refusal, given by a real API server and recognized; replacing the object is what mends it."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from workers.immutable import advice, immutable_fields
from workers.kube.crds import established
from workers.kube.errors import ApiError

from .conftest import Harness

Body = dict[str, Any]
Change = Callable[[Harness], tuple[Body, Body]]
CANARY = "canary-3f9a1c"
RBAC = "rbac.authorization.k8s.io"


def made(kube: Harness, api: str, kind: str, **content: Any) -> Body:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "x", "namespace": kube.namespace}, **content}


def pods(label: str = "a", image: str = "a", **spec: Any) -> Body:
    return {"metadata": {"labels": {"app": label}}, "spec": {"containers": [{"name": "a", "image": image}], **spec}}


def workload(kind: str, **second: Any) -> Change:
    """A workload, and what of its spec changes."""
    first = {"selector": {"matchLabels": {"app": "a"}}, "template": pods()}
    return lambda kube: (made(kube, "apps/v1", kind, spec=first), made(kube, "apps/v1", kind, spec={**first, **second}))


def pair(api: str, kind: str, first: Body, second: Body) -> Change:
    return lambda kube: (made(kube, api, kind, **first), made(kube, api, kind, **second))


def spec(api: str, kind: str, first: Body, second: Body) -> Change:
    return pair(api, kind, {"spec": first}, {"spec": second})


def cluster_wide(change: Change) -> Change:
    """The same objects, of a kind without namespaces."""

    def renamed(kube: Harness) -> tuple[Body, Body]:
        first, second = change(kube)
        for body in (first, second):
            body["metadata"] = {"name": kube.namespace}
        return first, second

    return renamed


OTHER = {"selector": {"matchLabels": {"app": "b"}}, "template": pods("b")}
PORTS = {"ports": [{"port": 80}]}
ONCE = {"template": pods(restartPolicy="Never")}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
VOLUME = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}
ROLE = {"apiGroup": RBAC, "kind": "Role", "name": "a"}
ENCODED = base64.b64encode(CANARY.encode()).decode()

CASES: dict[str, tuple[Change, set[str]]] = {
    "a Deployment's selector": (workload("Deployment", **OTHER), {"spec.selector"}),
    "a DaemonSet's selector": (workload("DaemonSet", **OTHER), {"spec.selector"}),
    "a StatefulSet's service": (
        workload("StatefulSet", serviceName=CANARY, podManagementPolicy="Parallel"),
        {"spec.serviceName", "spec.podManagementPolicy"},
    ),
    "a Service's address": (spec("v1", "Service", PORTS, {**PORTS, "clusterIP": "None"}), {"spec.clusterIPs[0]"}),
    "a Service's load balancer": (
        spec(
            "v1",
            "Service",
            {**PORTS, "type": "LoadBalancer", "loadBalancerClass": "a/b"},
            {**PORTS, "type": "LoadBalancer", "loadBalancerClass": f"a/{CANARY}"},
        ),
        {"spec.loadBalancerClass"},
    ),
    "a Job's template": (
        spec("batch/v1", "Job", ONCE, {"template": pods(image=CANARY, restartPolicy="Never")}),
        {"spec.template"},
    ),
    "a Job's completions": (spec("batch/v1", "Job", ONCE, {**ONCE, "completions": 2}), {"spec.completions"}),
    "a Pod's containers": (
        spec("v1", "Pod", pods()["spec"], {"containers": [{"name": "a", "image": "a", "args": [CANARY]}]}),
        {"spec.containers"},
    ),
    "a claim's access": (
        spec("v1", "PersistentVolumeClaim", CLAIM, {**CLAIM, "accessModes": ["ReadWriteMany"]}),
        {"spec.accessModes"},
    ),
    "a volume's source": (
        cluster_wide(
            spec(
                "v1",
                "PersistentVolume",
                {**VOLUME, "hostPath": {"path": "/a"}},
                {**VOLUME, "hostPath": {"path": f"/{CANARY}"}},
            )
        ),
        {"spec.persistentvolumesource"},
    ),
    "a binding's role": (
        pair(f"{RBAC}/v1", "RoleBinding", {"roleRef": ROLE}, {"roleRef": {**ROLE, "name": CANARY}}),
        {"roleRef"},
    ),
    "a ConfigMap that is immutable": (
        pair("v1", "ConfigMap", {"immutable": True, "data": {"a": "b"}}, {"immutable": True, "data": {"a": CANARY}}),
        {"data"},
    ),
    "a ConfigMap that was immutable": (
        pair("v1", "ConfigMap", {"immutable": True, "data": {"a": "b"}}, {"data": {"a": CANARY}}),
        {"immutable", "data"},
    ),
    "a Secret that is immutable": (
        pair("v1", "Secret", {"immutable": True, "data": {"a": "YQ=="}}, {"immutable": True, "data": {"a": ENCODED}}),
        {"data"},
    ),
    "a Secret that was immutable": (
        pair("v1", "Secret", {"immutable": True, "data": {"a": ENCODED}}, {"data": {"a": ENCODED}}),
        {"immutable"},
    ),
    "a Secret's type": (
        pair("v1", "Secret", {"type": "Opaque", "data": {"a": ENCODED}}, {"type": "a/b", "data": {"a": ENCODED}}),
        {"type"},
    ),
    "a class of storage": (
        cluster_wide(
            pair(
                "storage.k8s.io/v1",
                "StorageClass",
                {"provisioner": "a/b"},
                {"provisioner": "a/c", "reclaimPolicy": "Retain", "parameters": {"a": CANARY}},
            )
        ),
        {"provisioner", "reclaimPolicy", "parameters"},
    ),
    "a class of priority": (
        cluster_wide(pair("scheduling.k8s.io/v1", "PriorityClass", {"value": 1}, {"value": 2})),
        {"value"},
    ),
}


async def refusal(kube: Harness, body: Body) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await kube.apply("web", body)
    return caught.value


@pytest.mark.parametrize("case", CASES)
async def test_the_refusal_is_recognized_and_told_without_values(kube: Harness, case: str) -> None:
    change, expected = CASES[case]
    first, second = change(kube)
    path = await kube.path(first)
    kube.made.append(path)
    await kube.apply("web", first)
    error, kind = await refusal(kube, second), kube.key(first).group_kind
    fields = immutable_fields(error, kind, first, second)
    assert set(fields) == expected
    told = advice(kind, fields)
    assert CANARY not in told
    assert ENCODED not in told


async def test_a_rule_of_a_custom_resource_is_recognized(kube: Harness) -> None:
    group = f"g{uuid.uuid4().hex[:8]}.example"
    rule = {"rule": "self == oldSelf", "message": "Value is immutable"}
    zone = {"type": "string", "x-kubernetes-validations": [rule]}
    schema = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {"zone": zone, "n": {"type": "integer", "minimum": 1}}}
        },
    }
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
    await kube.apply("web", definition)
    kube.made.append(await kube.path(definition))
    await established(kube.client, f"widgets.{group}", 60)
    kube.discovery.forget()
    await kube.apply("web", made(kube, f"{group}/v1", "Widget", spec={"zone": "a", "n": 1}))
    moved = await refusal(kube, made(kube, f"{group}/v1", "Widget", spec={"zone": CANARY, "n": 1}))
    assert immutable_fields(moved, f"Widget.{group}") == ("spec.zone",)
    faulty = await refusal(kube, made(kube, f"{group}/v1", "Widget", spec={"zone": "a", "n": 0}))
    assert immutable_fields(faulty, f"Widget.{group}") == (), "a wrong value is no immutable field"


async def test_a_refusal_for_another_reason_is_not_taken_for_one(kube: Harness) -> None:
    first = kube.deployment()
    await kube.apply("web", first)
    selector = {"matchLabels": {"app": "other"}}  # the template's labels don't match: creating it would fail too
    error = await refusal(kube, kube.deployment(selector=selector))
    assert any("immutable" in cause.message for cause in error.causes)
    assert immutable_fields(error, "Deployment.apps") == ()


async def test_deleting_the_object_is_what_mends_it(kube: Harness) -> None:
    first, second = CASES["a ConfigMap that is immutable"][0](kube)
    await kube.apply("web", first)
    assert immutable_fields(await refusal(kube, second), "ConfigMap")
    await kube.client.request("DELETE", await kube.path(first), body=orjson.dumps({}))
    await kube.apply("web", second)
    assert (await kube.live(second))["data"] == second["data"]
