"""Whose fields and objects these are: first contact, drift, take-over and hand-over, on a real API server."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from workers.kube import managed_fields
from workers.kube.errors import ApiError, ConflictError
from workers.kube.keys import ObjectKey
from workers.kube.managed_fields import HASH, PART_OF

from .conftest import Harness


async def managers(kube: Harness, body: dict[str, Any]) -> set[str]:
    entries = (await kube.live(body))["metadata"]["managedFields"]
    return {entry["manager"] for entry in entries if entry.get("subresource") != "status"}


async def test_a_new_object_carries_our_label_and_hash_and_is_ours(kube: Harness) -> None:
    body = kube.config_map(a="1")
    applied = await kube.apply("web", body, digest="abc")
    live = await kube.live(body)
    assert live["metadata"]["labels"] == {PART_OF: kube.applyset("web").id}
    assert live["metadata"]["annotations"] == {HASH: "abc"}
    assert managed_fields.is_member(live["metadata"], "windlass/web", kube.applyset("web").id)
    assert (applied.uid, applied.resource_version) == (live["metadata"]["uid"], live["metadata"]["resourceVersion"])
    assert applied.took == []
    assert "labels" not in body["metadata"], "the caller's manifest is never changed"


async def test_applying_the_same_again_writes_nothing(kube: Harness) -> None:
    first = await kube.apply("web", kube.config_map(a="1"))
    assert await kube.apply("web", kube.config_map(a="1")) == first


async def test_a_field_that_leaves_git_leaves_the_object(kube: Harness) -> None:
    await kube.apply("web", kube.config_map(a="1", b="2"))
    await kube.apply("web", kube.config_map(a="1"))
    assert (await kube.live(kube.config_map()))["data"] == {"a": "1"}


async def test_a_key_that_leaves_string_data_leaves_the_secret(kube: Harness) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": kube.namespace}}
    await kube.apply("web", {**secret, "stringData": {"a": "1", "b": "2"}, "data": {"c": "Mw=="}})
    await kube.apply("web", {**secret, "stringData": {"a": "1"}})
    assert (await kube.live(secret))["data"] == {"a": "MQ=="}


async def test_what_kubectl_get_leaves_in_a_file_does_no_harm(kube: Harness) -> None:
    await kube.apply("web", kube.config_map(a="1"))
    exported = await kube.live(kube.config_map())
    exported["data"] = {"a": "2"}
    await kube.edit_as("kubectl-edit", exported, {"data": {"z": "1"}})  # so that its resourceVersion is an old one
    await kube.apply("web", exported)
    assert (await kube.live(kube.config_map()))["data"] == {"a": "2"}


# -- drift ----------------------------------------------------------------------------------------------------------


async def test_a_sidecar_added_by_kubectl_edit_disappears(kube: Harness) -> None:
    body = kube.deployment()
    await kube.apply("web", body)
    sidecar = {"spec": {"template": {"spec": {"containers": [{"name": "sidecar", "image": "evil"}]}}}}
    await kube.edit_as("kubectl-edit", body, sidecar, patch="strategic-merge")
    assert len((await kube.live(body))["spec"]["template"]["spec"]["containers"]) == 2

    applied = await kube.apply("web", body, previous=body)

    containers = (await kube.live(body))["spec"]["template"]["spec"]["containers"]
    assert [container["name"] for container in containers] == ["web"]
    assert await managers(kube, body) == {"windlass/web"}
    assert applied.took == [f"Deployment.apps/{kube.namespace}/web: the fields of kubectl-edit"]


async def test_a_field_that_kubectl_edit_changed_is_as_git_says_again(kube: Harness) -> None:
    body = kube.deployment()
    await kube.apply("web", body)
    await kube.edit_as("kubectl-edit", body, {"spec": {"replicas": 5, "paused": True}})
    applied = await kube.apply("web", body, previous=body)
    spec = (await kube.live(body))["spec"]
    assert (spec["replicas"], spec.get("paused")) == (1, None)
    assert f"Deployment.apps/{kube.namespace}/web: .spec.replicas from kubectl-edit" in applied.took


async def test_kubectl_scale_is_undone_where_git_names_the_replicas(kube: Harness) -> None:
    """Where it doesn't, the server keeps no record of who scaled (1.36.3), and an autoscaler is left alone as well."""
    body = kube.deployment()
    await kube.apply("web", body)
    await kube.edit_as("kubectl", body, {"spec": {"replicas": 4}}, subresource="/scale")
    await kube.apply("web", body, previous=body)
    assert (await kube.live(body))["spec"]["replicas"] == 1


async def test_kubectl_apply_server_side_is_undone_too(kube: Harness) -> None:
    body = kube.config_map(a="1")
    await kube.apply("web", body)
    other = orjson.dumps(kube.config_map(a="2", b="3"))
    await kube.client.request(
        "PATCH",
        await kube.path(body),
        params={"fieldManager": "kubectl", "force": "true"},
        body=other,
        content_type="application/apply-patch+yaml",
    )
    await kube.apply("web", body, previous=body)
    assert (await kube.live(body))["data"] == {"a": "1"}


async def test_a_controllers_change_of_a_field_that_we_owned_is_drift(kube: Harness) -> None:
    body = kube.deployment()
    await kube.apply("web", body)
    await kube.edit_as("scaler", body, {"spec": {"replicas": 7}})
    applied = await kube.apply("web", body, previous=body)
    assert (await kube.live(body))["spec"]["replicas"] == 1
    assert applied.took == [f"Deployment.apps/{kube.namespace}/web: .spec.replicas from scaler"]


async def test_so_it_is_when_nobody_remembers_what_was_applied_but_the_object_is_ours(kube: Harness) -> None:
    body = kube.deployment()
    await kube.apply("web", body)
    await kube.edit_as("scaler", body, {"spec": {"replicas": 7}})
    await kube.apply("web", body, previous=None)
    assert (await kube.live(body))["spec"]["replicas"] == 1


async def test_other_controllers_fields_are_left_alone(kube: Harness) -> None:
    body = kube.deployment()
    await kube.apply("web", body)
    await kube.edit_as("mesh-injector", body, {"metadata": {"annotations": {"mesh": "on"}}})
    await kube.apply("web", body, digest="h2", previous=body)
    assert (await kube.live(body))["metadata"]["annotations"]["mesh"] == "on"


async def test_a_field_that_git_newly_names_and_a_controller_owns_is_an_error_that_names_both(kube: Harness) -> None:
    body = kube.config_map(a="1")
    await kube.apply("web", body)
    await kube.edit_as("rotator", body, {"data": {"b": "theirs"}})
    with pytest.raises(ConflictError) as caught:
        await kube.apply("web", kube.config_map(a="1", b="ours"), previous=body)
    assert ".data.b (rotator)" in str(caught.value)
    assert not caught.value.retryable
    assert (await kube.live(body))["data"] == {"a": "1", "b": "theirs"}

    await kube.apply("web", kube.config_map(a="1", b="ours"), previous=body, force=True)
    assert (await kube.live(body))["data"] == {"a": "1", "b": "ours"}


async def test_a_label_that_was_taken_off_comes_back(kube: Harness) -> None:
    body = kube.config_map(a="1")
    await kube.apply("web", body)
    await kube.edit_as("kubectl-label", body, {"metadata": {"labels": {PART_OF: None}}})
    await kube.apply("web", body, previous=body)
    metadata = (await kube.live(body))["metadata"]
    assert managed_fields.is_member(metadata, "windlass/web", kube.applyset("web").id)


# -- first contact --------------------------------------------------------------------------------------------------


async def test_an_object_that_kubectl_made_is_adopted_and_becomes_equal_to_git(kube: Harness) -> None:
    created = await kube.create_as("kubectl-create", kube.config_map(a="old", extra="1"))
    await kube.apply("web", kube.config_map(a="new"))
    live = await kube.live(kube.config_map())
    assert live["data"] == {"a": "new"}
    assert live["metadata"]["uid"] == created["metadata"]["uid"]
    assert await managers(kube, live) == {"windlass/web"}


@pytest.mark.parametrize("manager", ["kubectl-client-side-apply", "argocd-controller", "helm", "kustomize-controller"])
async def test_so_is_what_a_former_tool_made_even_without_any_conflict(kube: Harness, manager: str) -> None:
    await kube.create_as(manager, kube.config_map(a="same", extra="1"))
    applied = await kube.apply("web", kube.config_map(a="same"))
    assert (await kube.live(kube.config_map()))["data"] == {"a": "same"}
    assert applied.took == [f"ConfigMap/{kube.namespace}/x: the fields of {manager}"]


async def test_a_namespace_and_a_service_that_kubectl_made_can_be_adopted(kube: Harness) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": kube.namespace, "labels": {"by": "hand"}},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "web"}},
    }
    created = await kube.create_as("kubectl-create", service)
    wanted = {**service, "metadata": {"name": "web", "namespace": kube.namespace}}
    await kube.apply("web", wanted)
    live = await kube.live(service)
    assert live["spec"]["clusterIP"] == created["spec"]["clusterIP"]
    assert "by" not in live["metadata"]["labels"]
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": kube.namespace}}
    await kube.edit_as("kubectl-label", namespace, {"metadata": {"labels": {"team": "a"}}})
    await kube.apply("web", namespace)
    assert "team" not in (await kube.live(namespace))["metadata"]["labels"]


@pytest.mark.parametrize("ours", [True, False])
async def test_an_object_whose_managed_fields_were_wiped_becomes_equal_to_git_all_the_same(
    kube: Harness, *, ours: bool
) -> None:
    """The server then books every field on `before-first-apply`."""
    body = kube.config_map(a="1", extra="1")
    if ours:
        await kube.apply("web", body)
    else:
        await kube.create_as("somebody", body)
    await kube.edit_as("somebody", body, {"metadata": {"managedFields": [{}]}})
    await kube.apply("web", kube.config_map(a="2"), previous=body if ours else None)
    assert (await kube.live(body))["data"] == {"a": "2"}
    assert await managers(kube, body) == {"windlass/web"}


async def test_an_object_of_a_controller_is_not_taken_on_first_contact(kube: Harness) -> None:
    await kube.create_as("operator", kube.config_map(a="theirs", b="theirs"))
    with pytest.raises(ConflictError, match=r"\.data\.a \(operator\)") as caught:
        await kube.apply("web", kube.config_map(a="ours", c="ours"))
    assert [conflict.field for conflict in caught.value.conflicts] == [".data.a"]
    live = await kube.live(kube.config_map())
    assert live["data"] == {"a": "theirs", "b": "theirs"}
    assert PART_OF not in live["metadata"].get("labels", {})


async def test_a_known_previous_manifest_does_not_make_a_foreign_object_ours(kube: Harness) -> None:
    body = kube.config_map(a="ours")
    await kube.create_as("operator", kube.config_map(a="theirs"))
    with pytest.raises(ConflictError):
        await kube.apply("web", body, previous=body)


# -- two applications -----------------------------------------------------------------------------------------------


async def test_two_applications_and_one_object_the_second_is_told_who_has_it(kube: Harness) -> None:
    body = kube.config_map(a="1")
    await kube.apply("web", body)
    for force in (False, True):
        with pytest.raises(ConflictError, match="application web has this object") as caught:
            await kube.apply("api", body, force=force)
        assert caught.value.application == "web"
    metadata = (await kube.live(body))["metadata"]
    assert managed_fields.is_member(metadata, "windlass/web", kube.applyset("web").id)


async def test_an_object_is_handed_over_without_being_deleted_and_keeps_nothing_of_the_first(kube: Harness) -> None:
    body = kube.config_map(a="1", only="web")
    first = await kube.apply("web", body)
    asked: list[tuple[str, ObjectKey]] = []

    async def may_take(application: str, key: ObjectKey) -> bool:
        asked.append((application, key))
        return True

    second = await kube.apply("api", kube.config_map(a="2"), may_take=may_take)

    live = await kube.live(body)
    assert asked == [("web", ObjectKey("", "ConfigMap", kube.namespace, "x"))]
    assert second.uid == first.uid
    assert live["data"] == {"a": "2"}
    assert await managers(kube, body) == {"windlass/api"}
    assert managed_fields.is_member(live["metadata"], "windlass/api", kube.applyset("api").id)
    assert not managed_fields.owns_label(live["metadata"]["managedFields"], "windlass/web")


# -- races ----------------------------------------------------------------------------------------------------------


async def test_another_writer_in_between_makes_the_decision_anew(kube: Harness) -> None:
    """Force is sent only for the state that was judged: what a controller took meanwhile is judged, not taken."""
    body = kube.config_map(a="1", b="1")
    await kube.apply("web", kube.config_map(a="1"))
    await kube.edit_as("kubectl-edit", body, {"data": {"a": "2"}})
    request, seen = kube.client.request, []

    async def interrupted(method: str, path: str, **options: Any) -> Any:
        answer = await request(method, path, **options)
        if options.get("content_type") == "application/json-patch+json" and not seen:
            seen.append(path)
            await kube.edit_as("rotator", body, {"data": {"b": "theirs"}})
        return answer

    kube.client.request = interrupted  # type: ignore[method-assign]
    with pytest.raises(ConflictError, match=r"\.data\.b \(rotator\)"):
        await kube.apply("web", body, previous=kube.config_map(a="1"))
    assert seen
    assert (await kube.live(body))["data"]["b"] == "theirs"


async def test_many_applies_of_one_object_at_once_all_end_well(kube: Harness) -> None:
    body = kube.config_map(a="1")
    await asyncio.gather(*(kube.apply("web", body) for _ in range(8)))
    assert (await kube.live(body))["data"] == {"a": "1"}


async def test_an_object_in_a_namespace_that_is_missing_is_an_error_worth_trying_again(kube: Harness) -> None:
    body = kube.config_map(a="1")
    body["metadata"]["namespace"] = "not-there"
    with pytest.raises(ApiError, match='namespaces "not-there" not found') as caught:
        await kube.apply("web", body)
    assert caught.value.retryable


async def test_an_invalid_object_is_an_error_that_only_another_manifest_can_mend(kube: Harness) -> None:
    body = kube.deployment(replicas=-1)
    with pytest.raises(ApiError, match=r"spec\.replicas") as caught:
        await kube.apply("web", body)
    assert caught.value.status == 422
    assert not caught.value.retryable
