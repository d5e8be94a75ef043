"""What an event means. Drift is content: nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from workers.kube.fieldsets import digest
from workers.kube.managed_fields import HASH, PART_OF, is_human
from workers.plan import Entry
from workers.watch.drift import Notice, Sight, Verdict, judge, notice, sight

from .seen import OWN, SHOP, entry, event

APPLIED = Entry("h1", digest(OWN), "a.yaml")
TAKEN = {name: children for name, children in OWN.items() if name != "f:data"}


def of(*args: Any, **kwargs: Any) -> Sight:
    return sight(event(*args, **kwargs), "shop", SHOP, is_human)


def test_an_object_as_it_was_applied_is_equal() -> None:
    assert judge(of(), APPLIED) is Verdict.EQUAL


def test_a_status_update_changes_nothing_that_matters() -> None:
    status = {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "fieldsV1": {}}
    later = of("h1", entry("windlass/shop"), status, version=9, generation=3)
    assert notice(of(), later) is Notice.NOTHING


def test_a_controller_that_owns_other_fields_is_no_drift() -> None:
    scaler = {"manager": "autoscaler", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    assert judge(of("h1", entry("windlass/shop"), scaler), APPLIED) is Verdict.EQUAL


def test_a_field_that_was_taken_from_us_is_drift() -> None:
    taken = of("h1", entry("windlass/shop", TAKEN), {"manager": "controller", "operation": "Update", "fieldsV1": {}})
    assert notice(of(), taken) is Notice.NOW
    assert judge(taken, APPLIED) is Verdict.DRIFTED


@pytest.mark.parametrize("manager", ["kubectl-edit", "kubectl-client-side-apply", "argocd-controller", "helm"])
def test_a_persons_field_beside_ours_is_drift(manager: str) -> None:
    edited = of("h1", entry("windlass/shop"), {"manager": manager, "operation": "Update", "fieldsV1": {}})
    assert notice(of(), edited) is Notice.NOW
    assert judge(edited, APPLIED) is Verdict.DRIFTED


def test_our_own_write_is_learnt_whether_its_record_is_there_or_not() -> None:
    written = of("h2")
    assert notice(of("h1"), written) is Notice.LATER
    assert judge(written, APPLIED) is Verdict.OURS
    assert judge(written, APPLIED._replace(hash="h2")) is Verdict.EQUAL


def test_a_record_whose_event_is_still_to_come_is_no_drift() -> None:
    assert judge(of("h1"), APPLIED._replace(hash="h2")) is Verdict.OURS


def test_a_hash_that_somebody_else_wrote_is_drift() -> None:
    unowned = {**OWN, "f:metadata": {"f:labels": {f"f:{PART_OF}": {}}}}
    edited = of("h9", entry("windlass/shop", unowned), {"manager": "x", "operation": "Update", "fieldsV1": {}})
    assert judge(edited, APPLIED) is Verdict.DRIFTED


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {}},
        {"labels": {PART_OF: "another"}},
        {"managedFields": []},
        {"managedFields": [entry("windlass/shop", {"f:metadata": {"f:annotations": {f"f:{HASH}": {}}}})]},
    ],
)
def test_an_object_that_is_not_marked_as_ours_any_more_has_drifted(change: dict[str, Any]) -> None:
    assert judge(of(**change), APPLIED) is Verdict.DRIFTED


def test_what_is_not_in_the_inventory_is_left_alone_whatever_happens_to_it() -> None:
    for now in (None, of(), of(labels={})):
        assert judge(now, None) is Verdict.FOREIGN


def test_what_is_not_there_is_gone() -> None:
    assert notice(of(), None) is Notice.NOW
    assert judge(None, APPLIED) is Verdict.GONE
