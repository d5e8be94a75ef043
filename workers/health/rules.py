"""Which rule is whose: one table by group and kind, and the order in which rules are asked. Pure.

As in kstatus (`Compute`): what holds for any object comes first (it is being deleted; its controller hasn't seen it; it says
Reconciling or Stalled), then the kind's own rule, else the Ready condition. A rule of the application's own takes the place
of everything but the first two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from workers.health import builtin, conditions, openshift, workloads
from workers.health.status import CURRENT, Health, text, unknown
from workers.kube.keys import group_of

Rule = Callable[[Mapping[str, Any]], Health]


class CustomRules(Protocol):
    """The rules that an application brings along (`workers.health.custom.CompiledRules`)."""

    def covers(self, group: str, kind: str) -> bool:
        """Is there a rule for objects of this kind?"""

    def assess(self, obj: Mapping[str, Any]) -> Health | None:
        """By the object's rule; None: it has none."""


RULES: dict[str, Rule] = {
    "Deployment.apps": workloads.deployment,
    "StatefulSet.apps": workloads.stateful_set,
    "DaemonSet.apps": workloads.daemon_set,
    "ReplicaSet.apps": workloads.replica_set,
    "ReplicationController": workloads.replica_set,
    "Job.batch": workloads.job,
    "Pod": workloads.pod,
    "PersistentVolumeClaim": builtin.claim,
    "PersistentVolume": builtin.volume,
    "Service": builtin.service,
    "HorizontalPodAutoscaler.autoscaling": builtin.autoscaler,
    "PodDisruptionBudget.policy": builtin.disruption_budget,
    "CustomResourceDefinition.apiextensions.k8s.io": builtin.definition,
    "APIService.apiregistration.k8s.io": builtin.api_service,
    "CertificateSigningRequest.certificates.k8s.io": builtin.signing_request,
    "Route.route.openshift.io": openshift.route,
    "DeploymentConfig.apps.openshift.io": openshift.deployment_config,
    "Build.build.openshift.io": openshift.build,
    "ImageStream.image.openshift.io": openshift.image_stream,
    "Subscription.operators.coreos.com": openshift.subscription,
    "ClusterServiceVersion.operators.coreos.com": openshift.service_version,
    "InstallPlan.operators.coreos.com": openshift.install_plan,
}

ALWAYS_CURRENT = frozenset(
    {
        "ConfigMap",
        "Secret",
        "ServiceAccount",
        "Namespace",
        "Endpoints",
        "LimitRange",
        "ResourceQuota",
        "PodTemplate",
        "CronJob.batch",
        "ControllerRevision.apps",
        "Lease.coordination.k8s.io",
        "EndpointSlice.discovery.k8s.io",
        "Ingress.networking.k8s.io",
        "IngressClass.networking.k8s.io",
        "NetworkPolicy.networking.k8s.io",
        "IPAddress.networking.k8s.io",
        "Role.rbac.authorization.k8s.io",
        "RoleBinding.rbac.authorization.k8s.io",
        "ClusterRole.rbac.authorization.k8s.io",
        "ClusterRoleBinding.rbac.authorization.k8s.io",
        "PriorityClass.scheduling.k8s.io",
        "RuntimeClass.node.k8s.io",
        "StorageClass.storage.k8s.io",
        "CSIDriver.storage.k8s.io",
        "VolumeAttributesClass.storage.k8s.io",
        "MutatingWebhookConfiguration.admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration.admissionregistration.k8s.io",
        "ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io",
        "MutatingAdmissionPolicy.admissionregistration.k8s.io",
        "MutatingAdmissionPolicyBinding.admissionregistration.k8s.io",
        "DeviceClass.resource.k8s.io",
        "ResourceClaimTemplate.resource.k8s.io",
        "BuildConfig.build.openshift.io",
        "ImageStreamTag.image.openshift.io",
        "Template.template.openshift.io",
        "Role.authorization.openshift.io",
        "RoleBinding.authorization.openshift.io",
        "SecurityContextConstraints.security.openshift.io",
        "OperatorGroup.operators.coreos.com",
    }
)
"""Group kinds that are Current the moment they exist: nothing of theirs has to come true. A deletion shows in metadata."""


def has_health(group: str, kind: str, rules: CustomRules | None = None) -> bool:
    """Must an object of this kind be read to know its health? If not, it is Current from its creation on, and Terminating
    when its metadata has a deletionTimestamp. Kinds that aren't known here may have conditions: they must."""
    group_kind = f"{kind}.{group}" if group else kind
    return group_kind not in ALWAYS_CURRENT or (rules is not None and rules.covers(group, kind))


def assess(obj: Mapping[str, Any], rules: CustomRules | None = None) -> Health:
    """The health of ``obj``, a whole object as the API server answers it. Raises nothing, whatever it is."""
    kind, api_version = text(obj, "kind"), text(obj, "apiVersion")
    if not kind or not api_version:
        return unknown("NotAnObject", "it has no kind or no apiVersion")
    if found := conditions.leaving(obj) or conditions.unobserved(obj):
        return found
    if rules is not None and (found := rules.assess(obj)) is not None:
        return found
    group = group_of(api_version)
    group_kind = f"{kind}.{group}" if group else kind
    if group_kind in ALWAYS_CURRENT:
        return CURRENT
    return conditions.standard(obj) or RULES.get(group_kind, conditions.ready)(obj)
