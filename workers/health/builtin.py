"""Health of the built-in kinds that run no pods: storage, networking, autoscaling, policy, API extensions. Pure.

kstatus (sigs.k8s.io/cli-utils/pkg/kstatus/status, core.go) has rules for claims, Services, disruption budgets and
definitions; the others' fields are those of the Kubernetes API reference. Windlass differs where kstatus would call Current
what can't be used yet: a Service of type LoadBalancer without an address, an APIService that doesn't answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workers.health.conditions import by_phase
from workers.health.status import CURRENT, Health, condition, failed, in_progress, mapping, mappings, text


def claim(obj: Mapping[str, Any]) -> Health:
    """A PersistentVolumeClaim. Pending is no failure: with `WaitForFirstConsumer` it lasts until a pod uses it."""
    phase = text(mapping(obj, "status"), "phase")
    if phase == "Bound":
        return CURRENT
    if phase == "Lost":
        return failed("Lost", "the volume that it was bound to is gone")
    return in_progress("NotBound", f"it isn't bound yet: {phase or 'its controller has not seen it'}")


def volume(obj: Mapping[str, Any]) -> Health:
    """A PersistentVolume."""
    return by_phase(obj, current=frozenset({"Available", "Bound", "Released"}), bad=frozenset({"Failed"}))


def service(obj: Mapping[str, Any]) -> Health:
    """Only a load balancer has to come; one for which ``externalIPs`` are given needs none."""
    spec, status = mapping(obj, "spec"), mapping(obj, "status")
    if text(spec, "type") != "LoadBalancer" or spec.get("externalIPs"):
        return CURRENT
    if not text(spec, "clusterIP"):
        return in_progress("NoAddress", "it has no cluster IP yet")
    if any(mappings(mapping(status, "loadBalancer"), "ingress")):
        return CURRENT
    return in_progress("NoAddress", "its load balancer has no address yet")


def autoscaler(obj: Mapping[str, Any]) -> Health:
    """A HorizontalPodAutoscaler. Metrics that aren't there yet are no failure: those of new pods never are."""
    status = mapping(obj, "status")
    able, active = condition(status, "AbleToScale"), condition(status, "ScalingActive")
    if able is None:
        return in_progress("Unobserved", "its controller hasn't seen it yet")
    if not able.holds:
        return in_progress(able.reason or "NotAbleToScale", able.message)
    if active is None or active.holds or active.reason == "ScalingDisabled":  # its target is scaled to 0
        return CURRENT
    if active.reason.startswith("Invalid"):
        return failed(active.reason, active.message)
    return in_progress(active.reason or "NotActive", active.message)


def disruption_budget(obj: Mapping[str, Any]) -> Health:
    """Allowing no disruption is what it is there for; only one that can't be computed has failed."""
    found = condition(mapping(obj, "status"), "DisruptionAllowed")
    if found is not None and found.status == "False" and found.reason == "SyncFailed":
        return failed(found.reason, found.message)
    return CURRENT


def definition(obj: Mapping[str, Any]) -> Health:
    """A CustomResourceDefinition."""
    status = mapping(obj, "status")
    names, established = condition(status, "NamesAccepted"), condition(status, "Established")
    if names is not None and names.status == "False":
        return failed(names.reason or "NamesNotAccepted", names.message)
    if established is None:
        return in_progress("Installing", "it isn't established yet")
    if established.holds:
        return CURRENT
    if established.status == "False" and established.reason != "Installing":
        return failed(established.reason or "NotEstablished", established.message)
    return in_progress("Installing", established.message or "it isn't established yet")


def api_service(obj: Mapping[str, Any]) -> Health:
    found = condition(mapping(obj, "status"), "Available")
    if found is None:
        return in_progress("NotAvailable", "it isn't known yet whether its server answers")
    return CURRENT if found.holds else in_progress(found.reason or "NotAvailable", found.message)


def signing_request(obj: Mapping[str, Any]) -> Health:
    """A CertificateSigningRequest."""
    status = mapping(obj, "status")
    for kind in ("Failed", "Denied"):
        found = condition(status, kind)
        if found is not None and found.holds:
            return failed(found.reason or kind, found.message or f"it is {kind.lower()}")
    if text(status, "certificate"):
        return CURRENT
    return in_progress("NotIssued", "its certificate isn't issued yet")
