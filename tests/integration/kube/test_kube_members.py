"""The ApplySet: what its parent says and when it is written, what it finds, and what is pruned."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
import pytest

from windlass.errors import LeaseLostError
from workers.kube import crds
from workers.kube import prune as pruning
from workers.kube.applyset import ApplySet, ForeignParentError, Parent, parent_name
from workers.kube.errors import ApiError
from workers.kube.managed_fields import PART_OF
from workers.kube.transport import KubeClient

from .conftest import Harness

REVISION, NEXT = "a" * 40, "b" * 40


def counted(client: KubeClient) -> list[str]:
    """The requests that ``client`` makes from now on."""
    request, made = client.request, []

    async def counting(method: str, path: str, **options: Any) -> Any:
        made.append(f"{method} {path}")
        return await request(method, path, **options)

    client.request = counting  # type: ignore[method-assign]
    return made


async def prune(kube: Harness, application: str, body: dict[str, Any], **options: Any) -> str:
    return await pruning.prune(
        kube.client,
        await kube.resource(body),
        kube.key(body),
        application=application,
        applyset_id=kube.applyset(application).id,
        **options,
    )


# -- the parent -----------------------------------------------------------------------------------------------------


async def test_the_parent_is_written_with_its_namespace_before_anything_is_applied(kube: Harness) -> None:
    applyset = kube.applyset("web")
    await applyset.ensure({"ConfigMap", "Deployment.apps"}, {"shop", "a", kube.windlass}, revision=REVISION)
    path = f"/api/v1/namespaces/{kube.windlass}/configmaps/application-web"
    metadata = (await kube.client.request("GET", path)).json()["metadata"]
    assert metadata["labels"] == {"applyset.kubernetes.io/id": applyset.id}
    assert metadata["annotations"] == {
        "applyset.kubernetes.io/tooling": "windlass/v1alpha1",
        "applyset.kubernetes.io/contains-group-kinds": "ConfigMap,Deployment.apps",
        "applyset.kubernetes.io/additional-namespaces": "a,shop",
        "windlass.dev/revision": REVISION,
        "windlass.dev/deletion-policy": "delete",
    }
    assert metadata["managedFields"][0]["manager"] == "windlass"


async def test_what_it_names_already_costs_no_request_and_a_new_kind_one_write(kube: Harness) -> None:
    applyset = kube.applyset("web")
    await applyset.ensure({"ConfigMap"}, {"shop"}, revision=REVISION)
    made = counted(kube.client)
    await applyset.ensure({"ConfigMap"}, {"shop", kube.windlass}, revision=NEXT)
    assert made == []
    await applyset.ensure({"Secret"}, {"shop"}, revision=NEXT)
    assert [line.split()[0] for line in made] == ["PATCH"]
    assert await applyset.read() == Parent(
        frozenset({"ConfigMap", "Secret"}), frozenset({"shop"}), NEXT, applyset.version
    )


async def test_another_workers_memory_of_it_is_read_again_when_the_state_says_so(kube: Harness) -> None:
    mine, theirs = kube.applyset("web"), kube.applyset("web")
    await mine.ensure({"ConfigMap", "Secret"}, {"shop"}, revision=REVISION)
    await theirs.read()
    await theirs.narrow({"ConfigMap"}, {"shop"})
    await mine.ensure({"Secret"}, {"shop"}, revision=REVISION, version=theirs.version)
    parent = await mine.read()
    assert parent is not None
    assert parent.group_kinds == {"ConfigMap", "Secret"}


async def test_a_write_never_loses_what_another_worker_added(kube: Harness) -> None:
    mine, theirs = kube.applyset("web"), kube.applyset("web")
    await mine.ensure({"ConfigMap"}, {"shop"}, revision=REVISION)
    await theirs.ensure({"Service"}, {"other"}, revision=REVISION)
    await mine.ensure({"Secret"}, {"third"}, revision=REVISION)
    parent = await mine.read()
    assert parent is not None
    assert parent.group_kinds == {"ConfigMap", "Secret", "Service"}
    assert parent.namespaces == {"shop", "other", "third"}


@pytest.mark.parametrize("tooling", ["kubectl/v1.36", None])
async def test_a_parent_of_other_tooling_is_refused(kube: Harness, tooling: str | None) -> None:
    applyset = kube.applyset("web")
    body = kube.config_map(parent_name("web"))
    body["metadata"] |= {"namespace": kube.windlass}
    if tooling:
        body["metadata"]["labels"] = {"applyset.kubernetes.io/id": applyset.id}
        body["metadata"]["annotations"] = {"applyset.kubernetes.io/tooling": tooling}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": kube.windlass}}
    await kube.client.request("POST", "/api/v1/namespaces", body=orjson.dumps(namespace))
    await kube.create_as("kubectl", body)
    with pytest.raises(ForeignParentError, match=tooling or "not an ApplySet's parent"):
        await applyset.ensure({"ConfigMap"}, {"shop"}, revision=REVISION)
    with pytest.raises(ForeignParentError):
        await applyset.members(kube.discovery)


async def test_a_parent_of_another_installation_is_refused_by_name_until_it_is_given_away(kube: Harness) -> None:
    def installed(name: str) -> ApplySet:
        return ApplySet(kube.client, "web", kube.windlass, installation=name)

    await installed("").ensure({"ConfigMap"}, {kube.namespace}, revision="a")
    await installed("one").ensure({"ConfigMap"}, {kube.namespace}, revision="a")  # nobody's yet
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": parent_name("web"), "namespace": kube.windlass},
    }
    assert (await kube.live(body))["metadata"]["annotations"]["windlass.dev/installation"] == "one"
    for other in ("two", ""):
        with pytest.raises(
            ForeignParentError, match=r"the installation one's on this cluster.*kubectl annotate -n"
        ) as refused:
            await installed(other).ensure({"ConfigMap"}, {kube.namespace}, revision="b")
        assert not refused.value.retryable
        with pytest.raises(ForeignParentError):
            await installed(other).members(kube.discovery)
    await kube.edit_as("kubectl-annotate", body, {"metadata": {"annotations": {"windlass.dev/installation": None}}})
    await installed("two").ensure({"ConfigMap"}, {kube.namespace}, revision="b")
    with pytest.raises(ForeignParentError, match="the installation two's"):
        await installed("one").ensure({"ConfigMap"}, {kube.namespace}, revision="c")


async def test_it_goes_when_it_is_removed(kube: Harness) -> None:
    applyset = kube.applyset("web")
    await applyset.ensure({"ConfigMap"}, {"shop"}, revision=REVISION)
    await applyset.remove()
    assert await applyset.read() is None
    await applyset.remove()
    await applyset.ensure({"ConfigMap"}, {"shop"}, revision=REVISION)
    assert await applyset.read() is not None


# -- members --------------------------------------------------------------------------------------------------------


async def populated(kube: Harness, application: str, *bodies: dict[str, Any]) -> ApplySet:
    applyset = kube.applyset(application)
    keys = [kube.key(body) for body in bodies]
    await applyset.ensure({key.group_kind for key in keys}, {kube.namespace}, revision=REVISION)
    for body in bodies:
        await kube.apply(application, body)
    return applyset


async def test_members_are_found_by_a_worker_that_knows_nothing(kube: Harness) -> None:
    configuration, deployment = kube.config_map(a="1"), kube.deployment()
    await populated(kube, "web", configuration, deployment)
    applied = await kube.apply("web", configuration, digest="h1")
    await kube.edit_as("kubectl-edit", deployment, {"spec": {"paused": True}})

    members, unlisted = await kube.applyset("web").members(kube.discovery)

    assert unlisted == {}
    found = {str(member.key): member for member in members}
    assert set(found) == {f"ConfigMap/{kube.namespace}/x", f"Deployment.apps/{kube.namespace}/web"}
    member = found[f"ConfigMap/{kube.namespace}/x"]
    assert (member.hash, member.fields, member.uid, member.ours) == ("h1", applied.fields, applied.uid, True)
    assert (member.managers, member.api_version) == ((), "v1")
    assert "kubectl-edit" in found[f"Deployment.apps/{kube.namespace}/web"].managers


async def test_the_digest_of_our_fields_changes_when_somebody_takes_one(kube: Harness) -> None:
    body = kube.config_map(a="1", b="1")
    applied = await kube.apply("web", body)
    await kube.apply("web", kube.config_map(a="2", b="1"))
    applyset = await populated(kube, "web", kube.config_map(a="3", b="1"))
    assert (await applyset.members(kube.discovery))[0][0].fields == applied.fields, "new values, the same fields"
    await kube.edit_as("rotator", body, {"data": {"b": "2"}})
    assert (await applyset.members(kube.discovery))[0][0].fields != applied.fields


async def test_a_copied_label_is_not_ours_and_never_pruned(kube: Harness) -> None:
    """As the endpoints controllers do: the labels of a Service on another object, without an ownerReference."""
    applyset = await populated(kube, "web", kube.config_map(a="1"))
    copy = kube.config_map("copy", a="1")
    copy["metadata"]["labels"] = {PART_OF: applyset.id}
    await kube.create_as("kube-controller-manager", copy)
    members, _ = await applyset.members(kube.discovery)
    assert {member.key.name: member.ours for member in members} == {"x": True, "copy": False}
    assert await prune(kube, "web", copy) == "not-ours"
    assert await kube.get(copy) is not None


async def test_what_the_endpoint_controllers_really_copy_is_not_ours(kube: Harness) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": kube.namespace},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "web"}},
    }
    applyset = await populated(kube, "web", service)
    await applyset.ensure({"Endpoints", "EndpointSlice.discovery.k8s.io"}, {kube.namespace}, revision=REVISION)
    end, copies = time.monotonic() + 10, []
    while not copies and time.monotonic() < end:
        await asyncio.sleep(0.1)
        members, _ = await applyset.members(kube.discovery)
        copies = [member for member in members if member.key.kind != "Service"]
    if not copies:
        pytest.skip("no controller-manager runs here")
    assert not any(member.ours for member in copies)


async def test_a_kind_that_cannot_be_listed_is_reported_and_one_that_is_gone_has_no_members(kube: Harness) -> None:
    applyset = await populated(kube, "web", kube.config_map(a="1"))
    await applyset.ensure({"TokenReview.authentication.k8s.io", "Gone.example.com"}, {"shop"}, revision=REVISION)
    members, unlisted = await applyset.members(kube.discovery)
    assert [member.key.name for member in members] == ["x"]
    assert unlisted == {"TokenReview.authentication.k8s.io": "the kind has no list"}


async def test_more_members_than_a_page_are_all_found(kube: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.kube.members.PAGE", 3)
    applyset = await populated(kube, "web", *(kube.config_map(f"x{number}", a="1") for number in range(10)))
    members, unlisted = await applyset.members(kube.discovery)
    assert (len({member.uid for member in members}), unlisted) == (10, {})


# -- prune ----------------------------------------------------------------------------------------------------------


async def test_an_object_of_ours_is_deleted_once_and_gone_the_second_time(kube: Harness) -> None:
    body = kube.config_map(a="1")
    await kube.apply("web", body)
    assert await prune(kube, "web", body) == "deleted"
    assert await kube.get(body) is None
    assert await prune(kube, "web", body) == "gone"


async def test_an_object_of_another_application_or_of_nobody_is_not_ours(kube: Harness) -> None:
    await kube.apply("api", kube.config_map("theirs"))
    await kube.create_as("kubectl-create", kube.config_map("nobodys"))
    assert await prune(kube, "web", kube.config_map("theirs")) == "not-ours"
    assert await prune(kube, "web", kube.config_map("nobodys")) == "not-ours"


async def test_an_object_that_is_taken_between_look_and_delete_stays(kube: Harness) -> None:
    """The delete names the resourceVersion that was judged: the server refuses it, and the second look says why."""
    body = kube.config_map(a="1")
    await kube.apply("web", body)
    request, taken = kube.client.request, []

    async def always(application: str, key: object) -> bool:
        return True

    async def interrupted(method: str, path: str, **options: Any) -> Any:
        if method == "DELETE" and not taken:
            taken.append(path)
            await kube.apply("api", body, may_take=always)
        return await request(method, path, **options)

    kube.client.request = interrupted  # type: ignore[method-assign]
    assert await prune(kube, "web", body) == "not-ours"
    assert taken
    assert await kube.get(body) is not None


async def test_an_object_that_merely_changed_in_between_is_looked_at_again_and_deleted(kube: Harness) -> None:
    body = kube.config_map(a="1")
    await kube.apply("web", body)
    request, edited = kube.client.request, []

    async def interrupted(method: str, path: str, **options: Any) -> Any:
        if method == "DELETE" and not edited:
            edited.append(path)
            await kube.edit_as("somebody", body, {"data": {"b": "1"}})
        return await request(method, path, **options)

    kube.client.request = interrupted  # type: ignore[method-assign]
    assert await prune(kube, "web", body) == "deleted"
    assert edited


async def test_a_precious_object_is_kept_unless_it_says_otherwise_itself(kube: Harness) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": kube.namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    await kube.apply("web", claim)
    assert await prune(kube, "web", claim) == "kept"
    await kube.edit_as("kubectl-annotate", claim, {"metadata": {"annotations": {"windlass.dev/prune": "true"}}})
    assert await prune(kube, "web", claim) == "deleted"


async def test_nothing_is_written_when_nothing_is_left_of_the_lease(kube: Harness) -> None:
    body = kube.config_map(a="1")
    await kube.apply("web", body)
    with pytest.raises(LeaseLostError):
        await prune(kube, "web", body, deadline=lambda: 0.1)
    assert await kube.get(body) is not None


async def test_after_a_complete_prune_the_parent_names_only_what_is_left(kube: Harness) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": kube.namespace}}
    one, two = kube.config_map("one"), kube.config_map("two")
    applyset = await populated(kube, "web", one, two, secret)
    await prune(kube, "web", one)
    made = counted(kube.client)
    await applyset.narrow_after_prune({"ConfigMap"}, kube.discovery)
    assert not any(line.startswith("PATCH") for line in made), "one is left: nothing to write"
    await prune(kube, "web", two)
    await applyset.narrow_after_prune({"ConfigMap"}, kube.discovery)
    parent = await applyset.read()
    assert parent is not None
    assert (parent.group_kinds, parent.namespaces, parent.revision) == ({"Secret"}, {kube.namespace}, REVISION)


# -- definitions ----------------------------------------------------------------------------------------------------


def definition(kube: Harness, *versions: str) -> tuple[str, dict[str, Any]]:
    group = f"{kube.namespace}.example.com"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    served = [{"name": v, "served": True, "storage": v == versions[0], "schema": schema} for v in versions]
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}
    return group, {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": served},
    }


async def test_a_resource_can_be_applied_as_soon_as_its_definition_is_established(kube: Harness) -> None:
    group, body = definition(kube, "v1")
    widget = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": kube.namespace}}
    assert await kube.discovery.resource(widget["apiVersion"], "Widget") is None
    kube.made.append(await kube.path(body))
    await kube.apply("web", body)
    await crds.established(kube.client, body["metadata"]["name"], 20)
    kube.discovery.forget()
    await kube.apply("web", {**widget, "spec": {"size": 1}})

    assert await prune(kube, "web", body) == "kept", "a definition holds every object of its kind"

    _, wider = definition(kube, "v1", "v2")
    await kube.apply("web", wider)
    await crds.established(kube.client, body["metadata"]["name"], 20)
    kube.discovery.forget()
    await kube.apply("web", {**widget, "apiVersion": f"{group}/v2", "spec": {"size": 2}})
    assert (await kube.live(widget))["spec"] == {"size": 2}


async def test_a_definition_that_somebody_deleted_took_its_objects_along(kube: Harness) -> None:
    """A worker that knew the kind finds no members of it, and is not stuck with a list that fails for ever."""
    group, body = definition(kube, "v1")
    await kube.apply("web", body)
    await crds.established(kube.client, body["metadata"]["name"], 20)
    widget = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": kube.namespace}}
    kube.discovery.forget()
    applyset = await populated(kube, "web", widget)
    assert len((await applyset.members(kube.discovery))[0]) == 1
    await kube.client.request("DELETE", await kube.path(body))
    end = time.monotonic() + 20
    while await kube.get(body) is not None or (await applyset.members(kube.discovery))[1]:
        assert time.monotonic() < end
        await asyncio.sleep(0.1)
    assert await applyset.members(kube.discovery) == ([], {})


async def test_a_definition_that_never_becomes_established_is_an_error_with_the_reason(kube: Harness) -> None:
    group, body = definition(kube, "v1")
    other = {**body, "metadata": {"name": f"gadgets.{group}"}, "spec": {**body["spec"]}}
    other["spec"]["names"] = {**body["spec"]["names"], "plural": "gadgets", "singular": "gadget"}
    for one in (body, other):
        kube.made.append(await kube.path(one))
        await kube.apply("web", one)
    await crds.established(kube.client, body["metadata"]["name"], 20)
    with pytest.raises(ApiError, match="already in use") as caught:
        await crds.established(kube.client, other["metadata"]["name"], 1.5)
    assert caught.value.retryable


async def test_an_unknown_kind_is_looked_up_once_a_second_at_most(kube: Harness) -> None:
    await kube.discovery.resource("v1", "ConfigMap")
    made = counted(kube.client)
    for _ in range(100):
        assert await kube.discovery.resource("example.com/v1", "Nothing") is None
    assert made == []
    kube.discovery.forget()
    assert await kube.discovery.resource("example.com/v1", "Nothing") is None
    assert made == ["GET /api", "GET /apis"]
