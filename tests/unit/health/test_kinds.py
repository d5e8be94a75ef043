"""Health of every other kind, of custom resources, and of whatever JSON there is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.health.objects import condition, made
from workers.health.rules import ALWAYS_CURRENT, RULES, assess, has_health
from workers.health.status import LONGEST_MESSAGE, Health, Status
from workers.kube.keys import split_group_kind

CURRENT, IN_PROGRESS, FAILED, UNKNOWN = Status.CURRENT, Status.IN_PROGRESS, Status.FAILED, Status.UNKNOWN
TERMINATING = Status.TERMINATING


def with_conditions(api_version: str, kind: str, *conditions: Any, **more: Any) -> dict[str, Any]:
    status = {**more.pop("status", {}), "conditions": [*conditions]}
    return made(api_version, kind, status=status, **more)


def crd(*conditions: Any) -> dict[str, Any]:
    return with_conditions("apiextensions.k8s.io/v1", "CustomResourceDefinition", *conditions)


def hpa(*conditions: Any) -> dict[str, Any]:
    return with_conditions("autoscaling/v2", "HorizontalPodAutoscaler", *conditions)


def custom(*conditions: Any, **more: Any) -> dict[str, Any]:
    return with_conditions("example.com/v1", "Database", *conditions, **more)


def route(*routers: Any) -> dict[str, Any]:
    return made("route.openshift.io/v1", "Route", status={"ingress": [*routers]})


def admitted(status: str, message: str = "") -> dict[str, Any]:
    return {"routerName": "default", "conditions": [condition("Admitted", status, "HostAlreadyClaimed", message)]}


def deployment_config(*conditions: Any, latest: int = 3, **counts: int) -> dict[str, Any]:
    status = {"latestVersion": latest, **counts}
    return with_conditions(
        "apps.openshift.io/v1", "DeploymentConfig", *conditions, spec={"replicas": 1}, status=status, generation=4
    )


def subscription(*conditions: Any, approval: str = "Automatic", **status: Any) -> dict[str, Any]:
    spec = {"installPlanApproval": approval}
    return with_conditions("operators.coreos.com/v1alpha1", "Subscription", *conditions, spec=spec, status=status)


def phase(api_version: str, kind: str, name: str, **status: Any) -> dict[str, Any]:
    return made(api_version, kind, status={"phase": name, **status} if name else status)


def balancer(spec: dict[str, Any], *ingress: Any) -> dict[str, Any]:
    spec = {"type": "LoadBalancer", "clusterIP": "10.0.0.1", **spec}
    return made("v1", "Service", spec=spec, status={"loadBalancer": {"ingress": [*ingress]} if ingress else {}})


ONE = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "readyReplicas": 1}
APPROVAL = condition("InstallPlanPending", "True", "RequiresApproval")
OLM = "operators.coreos.com/v1alpha1"

CASES: dict[str, tuple[dict[str, Any], Status, str]] = {
    "a claim that waits for its first consumer": (
        phase("v1", "PersistentVolumeClaim", "Pending"),
        IN_PROGRESS,
        "it isn't bound yet: Pending",
    ),
    "a bound claim": (phase("v1", "PersistentVolumeClaim", "Bound"), CURRENT, ""),
    "a lost claim": (phase("v1", "PersistentVolumeClaim", "Lost"), FAILED, "gone"),
    "a volume": (phase("v1", "PersistentVolume", "Available"), CURRENT, ""),
    "a failed volume": (phase("v1", "PersistentVolume", "Failed", message="no recycler"), FAILED, "no recycler"),
    "a Service": (made("v1", "Service", spec={"type": "ClusterIP"}), CURRENT, ""),
    "a load balancer without an address": (balancer({}), IN_PROGRESS, "no address yet"),
    "a load balancer without a cluster IP": (balancer({"clusterIP": ""}), IN_PROGRESS, "no cluster IP"),
    "a load balancer": (balancer({}, {"ip": "192.0.2.1"}), CURRENT, ""),
    "a load balancer by hand": (balancer({"externalIPs": ["192.0.2.1"]}), CURRENT, ""),
    "an Ingress": (made("networking.k8s.io/v1", "Ingress"), CURRENT, ""),
    "a CronJob": (made("batch/v1", "CronJob", spec={"suspend": True}), CURRENT, ""),
    "a Namespace": (phase("v1", "Namespace", "Active"), CURRENT, ""),
    "an autoscaler that is new": (hpa(), IN_PROGRESS, "hasn't seen it"),
    "an autoscaler that scales": (hpa(condition("AbleToScale"), condition("ScalingActive")), CURRENT, ""),
    "an autoscaler of what is scaled to 0": (
        hpa(condition("AbleToScale"), condition("ScalingActive", "False", "ScalingDisabled", "disabled")),
        CURRENT,
        "",
    ),
    "an autoscaler whose target is missing": (
        hpa(condition("AbleToScale", "False", "FailedGetScale", "deployments.apps not found")),
        IN_PROGRESS,
        "not found",
    ),
    "an autoscaler without metrics": (
        hpa(condition("AbleToScale"), condition("ScalingActive", "False", "FailedGetResourceMetric", "no metrics")),
        IN_PROGRESS,
        "no metrics",
    ),
    "an autoscaler that can't be": (
        hpa(condition("AbleToScale"), condition("ScalingActive", "False", "InvalidSelector", "bad selector")),
        FAILED,
        "bad selector",
    ),
    "a budget that allows nothing": (
        with_conditions(
            "policy/v1", "PodDisruptionBudget", condition("DisruptionAllowed", "False", "InsufficientPods")
        ),
        CURRENT,
        "",
    ),
    "a budget that can't be computed": (
        with_conditions(
            "policy/v1", "PodDisruptionBudget", condition("DisruptionAllowed", "False", "SyncFailed", "no scale")
        ),
        FAILED,
        "no scale",
    ),
    "a definition that is new": (crd(), IN_PROGRESS, "established"),
    "a definition that installs": (
        crd(condition("NamesAccepted"), condition("Established", "False", "Installing", "the initial names")),
        IN_PROGRESS,
        "initial names",
    ),
    "a definition": (crd(condition("NamesAccepted"), condition("Established")), CURRENT, ""),
    "a definition whose names are taken": (
        crd(condition("NamesAccepted", "False", "PluralConflict", '"databases" is already in use')),
        FAILED,
        "already in use",
    ),
    "an API that answers": (
        with_conditions("apiregistration.k8s.io/v1", "APIService", condition("Available")),
        CURRENT,
        "",
    ),
    "an API that doesn't": (
        with_conditions(
            "apiregistration.k8s.io/v1", "APIService", condition("Available", "False", "MissingEndpoints", "none")
        ),
        IN_PROGRESS,
        "none",
    ),
    "a signing request": (made("certificates.k8s.io/v1", "CertificateSigningRequest"), IN_PROGRESS, "isn't issued yet"),
    "a signing request that was denied": (
        with_conditions(
            "certificates.k8s.io/v1", "CertificateSigningRequest", condition("Denied", "True", "No", "not you")
        ),
        FAILED,
        "not you",
    ),
    "a signing request that was met": (
        made("certificates.k8s.io/v1", "CertificateSigningRequest", status={"certificate": "LS0t"}),
        CURRENT,
        "",
    ),
    "a custom resource without conditions": (custom(), CURRENT, ""),
    "that is ready": (custom(condition("Ready")), CURRENT, ""),
    "that isn't": (
        custom(condition("Ready", "False", "Provisioning", "creating disks")),
        IN_PROGRESS,
        "creating disks",
    ),
    "that can't tell": (custom(condition("Ready", "Unknown", "Timeout", "no answer")), IN_PROGRESS, "no answer"),
    "whose conditions are its own": (custom(condition("Ready", "Maybe"), condition("Synced", "False")), CURRENT, ""),
    "whose controller is behind": (
        custom(condition("Ready"), status={"observedGeneration": 3}, generation=4),
        IN_PROGRESS,
        "has seen generation 3 of 4",
    ),
    "whose condition is behind": (
        custom(condition("Ready", observedGeneration=3), generation=4),
        IN_PROGRESS,
        "Ready is of generation 3 of 4",
    ),
    "that reconciles": (
        custom(condition("Reconciling", "True", "Moving", "moving disks"), condition("Ready")),
        IN_PROGRESS,
        "moving disks",
    ),
    "that is stalled": (
        custom(condition("Ready", "False"), condition("Stalled", "True", "NoDisk", "there is no disk")),
        FAILED,
        "there is no disk",
    ),
    "that was stalled": (custom(condition("Stalled", "False"), condition("Ready")), CURRENT, ""),
    "that goes": (
        custom(condition("Ready"), deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["example.com/disks"]),
        TERMINATING,
        "waits for example.com/disks",
    ),
    "a Secret that goes": (
        made("v1", "Secret", deletionTimestamp="2026-01-01T00:00:00Z"),
        TERMINATING,
        "being deleted",
    ),
    "a Route that is new": (route(), IN_PROGRESS, "no router"),
    "a Route that waits for one": (
        route(admitted("True"), {"routerName": "inner"}),
        IN_PROGRESS,
        "inner hasn't admitted",
    ),
    "a Route that is refused": (route(admitted("True"), admitted("False", "taken by a/b")), FAILED, "taken by a/b"),
    "a Route": (route(admitted("True")), CURRENT, ""),
    "a DeploymentConfig without an image": (deployment_config(latest=0), IN_PROGRESS, "first rollout"),
    "a DeploymentConfig that rolls": (deployment_config(replicas=1), IN_PROGRESS, "0 of 1 replicas are updated"),
    "a DeploymentConfig that failed": (
        deployment_config(
            condition("Progressing", "False", "ProgressDeadlineExceeded", "has failed progressing"), **ONE
        ),
        FAILED,
        "failed progressing",
    ),
    "a DeploymentConfig": (
        deployment_config(
            condition("Progressing", "True", "NewReplicationControllerAvailable"), condition("Available"), **ONE
        ),
        CURRENT,
        "",
    ),
    "a BuildConfig": (made("build.openshift.io/v1", "BuildConfig"), CURRENT, ""),
    "a Build that runs": (phase("build.openshift.io/v1", "Build", "Running"), IN_PROGRESS, "its phase is Running"),
    "a Build that failed": (
        phase("build.openshift.io/v1", "Build", "Failed", reason="GenericBuildFailed", message="exit status 1"),
        FAILED,
        "exit status 1",
    ),
    "a Build": (phase("build.openshift.io/v1", "Build", "Complete"), CURRENT, ""),
    "an ImageStream whose import failed": (
        made(
            "image.openshift.io/v1",
            "ImageStream",
            status={
                "tags": [{"tag": "1", "conditions": [condition("ImportSuccess", "False", "Unauthorized", "no pull")]}]
            },
        ),
        FAILED,
        "tag 1: no pull",
    ),
    "a Subscription that installs": (subscription(state="UpgradePending"), IN_PROGRESS, "UpgradePending"),
    "a Subscription that can't be resolved": (
        subscription(condition("ResolutionFailed", "True", "ConstraintsNotSatisfiable", "no operators found")),
        FAILED,
        "no operators found",
    ),
    "a Subscription": (subscription(state="AtLatestKnown"), CURRENT, ""),
    "a Subscription that needs an approval to begin": (
        subscription(APPROVAL, approval="Manual", state="UpgradePending", installPlanRef={"name": "install-x"}),
        IN_PROGRESS,
        "install-x waits for its approval",
    ),
    "a Subscription that needs an approval to go on": (
        subscription(APPROVAL, approval="Manual", state="UpgradePending", installedCSV="db.v1"),
        CURRENT,
        "waits for its approval",
    ),
    "an operator that installs": (
        phase(OLM, "ClusterServiceVersion", "Installing", reason="InstallWaiting", message="waiting for deployment"),
        IN_PROGRESS,
        "waiting for deployment",
    ),
    "an operator that failed": (
        phase(OLM, "ClusterServiceVersion", "Failed", reason="InstallCheckFailed", message="install timeout"),
        FAILED,
        "install timeout",
    ),
    "an operator": (phase(OLM, "ClusterServiceVersion", "Succeeded", reason="InstallSucceeded"), CURRENT, ""),
    "an InstallPlan that waits": (phase(OLM, "InstallPlan", "RequiresApproval"), IN_PROGRESS, "its approval"),
    "an InstallPlan that failed": (
        phase(
            OLM,
            "InstallPlan",
            "Failed",
            conditions=[condition("Installed", "False", "InstallComponentFailed", "exists")],
        ),
        FAILED,
        "exists",
    ),
    "an InstallPlan": (phase(OLM, "InstallPlan", "Complete"), CURRENT, ""),
    "what has no kind": ({"apiVersion": "v1"}, UNKNOWN, "no kind"),
}


@pytest.mark.parametrize("case", CASES)
def test_an_object(case: str) -> None:
    obj, status, message = CASES[case]
    health = assess(obj)
    assert health.status == status, health
    assert message in health.message
    assert status == CURRENT or (health.reason and health.message)


def test_kinds_that_need_no_look() -> None:
    assert not has_health("", "ConfigMap")
    assert not has_health("rbac.authorization.k8s.io", "Role")
    assert has_health("apps", "Deployment")
    assert has_health("example.com", "Database")
    assert not ALWAYS_CURRENT & set(RULES)


def test_a_message_is_one_short_line() -> None:
    health = assess(custom(condition("Ready", "False", "x" * 9999, "line\n" * 9999)))
    assert len(health.message) <= LONGEST_MESSAGE
    assert len(health.reason) <= 100
    assert "\n" not in health.message


def test_health_reads_as_a_sentence() -> None:
    assert str(Health(Status.FAILED, "Lost", "the volume is gone")) == "Failed: Lost: the volume is gone"
    assert str(Health(Status.CURRENT)) == "Current"


WORDS = (
    "conditions phase type status reason replicas updatedReplicas ingress tags containerStatuses state waiting lastState "
    "terminated exitCode signal loadBalancer updateStrategy observedGeneration generation deletionTimestamp finalizers"
)
FIELDS = WORDS.split()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["True", "False"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    group_kind=st.sampled_from([*RULES, *sorted(ALWAYS_CURRENT), "Database.example.com"]),
    metadata=JSON,
    spec=JSON,
    status=JSON,
)
def test_no_json_is_too_odd(group_kind: str, metadata: Any, spec: Any, status: Any) -> None:
    group, kind = split_group_kind(group_kind)
    api_version = f"{group}/v1" if group else "v1"
    health = assess({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec, "status": status})
    assert isinstance(health.status, Status)
    assert isinstance(health.reason, str)
    assert isinstance(health.message, str)


@given(st.dictionaries(st.sampled_from(["apiVersion", "kind", "metadata", "status"]), JSON))
def test_not_even_what_is_no_object(obj: dict[str, Any]) -> None:
    assert isinstance(assess(obj), Health)
