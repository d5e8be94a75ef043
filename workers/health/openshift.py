"""Health of OpenShift's kinds, and of the Operator Lifecycle Manager's. Pure.

Sources: the API types of github.com/openshift/api (apps/v1, build/v1, image/v1, route/v1), the reasons of
github.com/openshift/library-go (pkg/apps/appsutil), and github.com/operator-framework/api (operators/v1alpha1). kstatus has
no rules for them: it calls all of them Current at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workers.health.conditions import by_phase
from workers.health.status import (
    CURRENT,
    Health,
    condition,
    conditions,
    failed,
    in_progress,
    mapping,
    mappings,
    shortened,
    text,
    whole,
)
from workers.health.workloads import replica_failure, rollout

ROLLOUT_FAILED = frozenset({"ProgressDeadlineExceeded", "RolloutCancelled", "ReplicationControllerCreateError"})
BUILD_FAILED = frozenset({"Failed", "Error", "Cancelled"})
SUBSCRIPTION_FAILED = ("InstallPlanFailed", "ResolutionFailed", "BundleUnpackFailed", "CatalogSourcesUnhealthy")


def route(obj: Mapping[str, Any]) -> Health:
    """Current once every router that serves it has admitted it."""
    routers = list(mappings(mapping(obj, "status"), "ingress"))
    if not routers:
        return in_progress("NotAdmitted", "no router has seen it yet")
    waiting = ""
    for router in routers:
        name = text(router, "routerName") or "a router"
        admitted = condition(router, "Admitted")
        if admitted is not None and admitted.status == "False":
            return failed(admitted.reason or "NotAdmitted", f"{name}: {admitted.message or 'refused'}")
        if admitted is None or not admitted.holds:
            waiting = name
    return in_progress("NotAdmitted", f"{waiting} hasn't admitted it yet") if waiting else CURRENT


def deployment_config(obj: Mapping[str, Any]) -> Health:
    spec, status = mapping(obj, "spec"), mapping(obj, "status")
    if whole(status, "latestVersion") == 0:
        return in_progress("NotDeployed", "it waits for its first rollout: an image, or `oc rollout latest`")
    progressing, available = condition(status, "Progressing"), condition(status, "Available")
    if progressing is not None and progressing.status == "False" and progressing.reason in ROLLOUT_FAILED:
        return failed(progressing.reason, progressing.message)
    wanted = whole(spec, "replicas", 1)
    if unfinished := rollout(wanted, status):
        return replica_failure(status) or unfinished
    if wanted and (available is None or not available.holds):
        return in_progress("NotAvailable", (available.message if available else "") or "it isn't available yet")
    return CURRENT


def build(obj: Mapping[str, Any]) -> Health:
    return by_phase(obj, current=frozenset({"Complete"}), bad=BUILD_FAILED)


def image_stream(obj: Mapping[str, Any]) -> Health:
    """Failed, if a tag couldn't be imported."""
    for tag in mappings(mapping(obj, "status"), "tags"):
        found = condition(tag, "ImportSuccess")
        if found is not None and found.status == "False":
            return failed(found.reason or "ImportFailed", f"tag {text(tag, 'tag')}: {found.message}")
    return CURRENT


def subscription(obj: Mapping[str, Any]) -> Health:
    """An upgrade that waits for its approval leaves an installed operator Current."""
    spec, status = mapping(obj, "spec"), mapping(obj, "status")
    held = {found.type: found for found in conditions(status) if found.holds}
    for kind in SUBSCRIPTION_FAILED:
        if kind in held:
            return failed(held[kind].reason or kind, held[kind].message)
    state = text(status, "state")
    if state == "UpgradeFailed":
        return failed(state, "the upgrade of its operator failed")
    if state == "AtLatestKnown":
        return CURRENT
    pending = held.get("InstallPlanPending")
    if text(spec, "installPlanApproval") == "Manual" and pending is not None and pending.reason == "RequiresApproval":
        message = f"the install plan {text(mapping(status, 'installPlanRef'), 'name')} waits for its approval"
        if text(status, "installedCSV"):
            return CURRENT._replace(reason="RequiresApproval", message=message)
        return in_progress("RequiresApproval", message)
    return in_progress(state or "Unobserved", f"its operator isn't installed yet: {state or 'no state'}")


def service_version(obj: Mapping[str, Any]) -> Health:
    """A ClusterServiceVersion."""
    return by_phase(obj, current=frozenset({"Succeeded"}), bad=frozenset({"Failed"}))


def install_plan(obj: Mapping[str, Any]) -> Health:
    if text(mapping(obj, "status"), "phase") == "RequiresApproval":
        return in_progress("RequiresApproval", "it waits for its approval")
    found = condition(mapping(obj, "status"), "Installed")
    health = by_phase(obj, current=frozenset({"Complete"}), bad=frozenset({"Failed"}))
    said = found.message if found is not None and found.status == "False" else ""
    return health if health == CURRENT or not said else health._replace(message=shortened(said))
