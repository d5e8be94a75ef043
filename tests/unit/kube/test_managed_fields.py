"""Who owns an object, who gives way, and what is left of them after a take-over."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.kube import managed_fields as mf
from workers.kube.errors import Cause, Conflict

OURS = "windlass/web"
LABEL = {"f:metadata": {"f:labels": {f"f:{mf.PART_OF}": {}}}}


def entry(manager: str, fields: dict[str, Any], operation: str = "Update", **more: str) -> dict[str, Any]:
    base = {"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1"}
    return {**base, "fieldsV1": fields, **more}


def test_only_our_own_apply_makes_an_object_ours() -> None:
    assert mf.owns_label([entry(OURS, LABEL, "Apply")], OURS)
    assert not mf.owns_label([entry(OURS, LABEL, "Update")], OURS)
    assert not mf.owns_label([entry("kube-controller-manager", LABEL)], OURS)
    assert not mf.owns_label([entry("windlass/other", LABEL, "Apply")], OURS)
    assert not mf.owns_label([entry(OURS, LABEL, "Apply", subresource="status")], OURS)
    assert not mf.owns_label([entry(OURS, {"f:data": {}}, "Apply")], OURS)
    assert not mf.owns_label([], OURS)


def test_a_label_of_another_applyset_is_not_membership() -> None:
    metadata = {"labels": {mf.PART_OF: "other"}, "managedFields": [entry(OURS, LABEL, "Apply")]}
    assert not mf.is_member(metadata, OURS, "mine")
    assert mf.is_member({**metadata, "labels": {mf.PART_OF: "mine"}}, OURS, "mine")
    assert not mf.is_member({}, OURS, "mine")


@pytest.mark.parametrize(
    "manager",
    ["kubectl", "kubectl-edit", "kubectl-client-side-apply", "before-first-apply", "argocd-controller", "Helm"],
)
def test_people_and_former_tools_give_way(manager: str) -> None:
    assert mf.is_human(manager)


@pytest.mark.parametrize("manager", ["kube-controller-manager", "kubelet", "windlass/web", "helmfile", "vpa", ""])
def test_controllers_do_not(manager: str) -> None:
    assert not mf.is_human(manager)


def test_who_gives_way_can_be_configured() -> None:
    assert mf.is_human("terraform", ("terraform*",))
    assert not mf.is_human("kubectl", ("terraform*",))


def test_a_take_over_merges_and_removes_every_former_manager_and_keeps_the_rest() -> None:
    entries = [
        entry(OURS, {"f:data": {"f:a": {}}}, "Apply", time="2026-01-01T00:00:00Z"),
        entry("kubectl-edit", {"f:data": {"f:b": {}}}),
        entry("kubectl", {"f:spec": {"f:replicas": {}}}, "Update", subresource="scale"),
        entry("kubectl", {"f:status": {"f:x": {}}}, "Update", subresource="status"),
        entry("vpa", {"f:data": {"f:c": {}}}),
    ]
    merged = mf.absorbed(entries, OURS, "v1", mf.is_human)
    assert merged is not None
    assert [(e["manager"], e.get("subresource")) for e in merged] == [
        (OURS, None),
        ("kubectl", "status"),
        ("vpa", None),
    ]
    assert merged[0]["fieldsV1"] == {"f:data": {"f:a": {}, "f:b": {}}, "f:spec": {"f:replicas": {}}}
    assert merged[0]["time"] == "2026-01-01T00:00:00Z"
    assert entries[0]["fieldsV1"] == {"f:data": {"f:a": {}}}, "what was read stays as it was"


def test_an_object_that_is_being_adopted_gets_an_entry_of_ours() -> None:
    merged = mf.absorbed(
        [entry("kubectl-create", {"f:data": {}}, time="2026-01-02T00:00:00Z")], OURS, "v1", mf.is_human
    )
    assert merged == [
        {
            "manager": OURS,
            "operation": "Apply",
            "apiVersion": "v1",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {}},
            "time": "2026-01-02T00:00:00Z",
        }
    ]


def test_there_is_nothing_to_take_where_nobody_gives_way() -> None:
    status = entry("kubectl", {"f:status": {}}, subresource="status")
    assert mf.absorbed([entry(OURS, LABEL, "Apply"), entry("vpa", {}), status], OURS, "v1", mf.is_human) is None


@given(st.lists(st.sampled_from(["kubectl-edit", "helm", "vpa", OURS, "windlass/api"]), unique=True))
def test_after_a_take_over_none_of_them_is_left(managers: list[str]) -> None:
    entries = [entry(name, {f"f:{name}": {}}, "Apply") for name in managers]
    merged = mf.absorbed(entries, OURS, "v1", mf.is_human)
    if merged is None:
        assert not any(map(mf.is_human, managers))
        return
    assert not any(mf.is_human(e["manager"]) for e in merged)
    assert {e["manager"] for e in merged} == {m for m in managers if not mf.is_human(m)} | {OURS}
    own = mf.own_entry(merged, OURS)
    assert own is not None
    assert set(own["fieldsV1"]) == {f"f:{m}" for m in managers if mf.is_human(m) or m == OURS}


def test_the_patch_fails_if_the_object_changed_meanwhile() -> None:
    patch = orjson.loads(mf.ownership_patch([entry(OURS, LABEL, "Apply")], "42"))
    assert patch[1] == {"op": "replace", "path": "/metadata/resourceVersion", "value": "42"}


@pytest.mark.parametrize(
    ("message", "manager"),
    [
        ('conflict with "kubectl-edit" using apps/v1 at 2026-01-01T00:00:00Z', "kubectl-edit"),
        ('conflict with "windlass/web"', "windlass/web"),
        ('conflict with "kubectl" with subresource "scale" using apps/v1', "kubectl"),
        (r'conflict with "a\"b" using v1', 'a"b'),
    ],
)
def test_a_conflict_names_its_manager(message: str, manager: str) -> None:
    causes = [Cause("FieldManagerConflict", ".data.x", message), Cause("Other", ".y", "no conflict")]
    assert mf.conflicts(causes) == [Conflict(".data.x", manager)]


def test_the_application_behind_a_manager() -> None:
    assert mf.application_of("windlass/web") == "web"
    assert mf.application_of("windlass") == ""
    assert mf.application_of("kubectl") == ""


def test_others_are_named_once_without_those_who_only_write_the_status() -> None:
    entries = [
        entry(OURS, {}, "Apply"),
        entry("vpa", {}),
        entry("vpa", {}, "Apply"),
        entry("x", {}, subresource="status"),
    ]
    assert mf.others(entries, OURS) == ("vpa",)
