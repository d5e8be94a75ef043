"""Fields that are left to others, on a real API server: Git's value is the first one, and nobody's is ever taken."""

from __future__ import annotations

from typing import Any

import pytest

from workers.kube.apply import Applied
from workers.kube.errors import ApiError
from workers.kube.handoff import Left
from workers.kube.managed_fields import HASH, IGNORED, own_entry

from .conftest import Harness

REPLICAS = Left((("spec", "replicas"),))
IMAGE = Left((("spec", "template", "spec", "containers", "[name=web]", "image"),))


async def apply(kube: Harness, body: dict[str, Any], left: Left | None = REPLICAS, **options: Any) -> Applied:
    options = {"digest": "h-1", **options}
    return await kube.applier("web").apply(await kube.resource(body), body, left=left, **options)


async def replicas(kube: Harness) -> int:
    found: int = (await kube.live(kube.deployment()))["spec"]["replicas"]
    return found


async def owners(kube: Harness, body: dict[str, Any]) -> dict[str, str]:
    """Who owns ``spec.replicas``, with the subresource by which they wrote it."""
    entries = (await kube.live(body))["metadata"]["managedFields"]
    mine = [e for e in entries if "f:replicas" in e["fieldsV1"].get("f:spec", {})]
    return {entry["manager"]: entry.get("subresource", "") for entry in mine}


async def scale(kube: Harness, count: int, manager: str) -> None:
    change = {"spec": {"replicas": count}}
    await kube.edit_as(manager, kube.deployment(), change, subresource="/scale")


async def test_gits_value_is_the_first_one_and_is_handed_over(kube: Harness) -> None:
    body = kube.deployment(replicas=3)
    applied = await apply(kube, body)
    assert await replicas(kube) == 3
    assert await owners(kube, body) == {IGNORED: ""}
    generation = (await kube.live(body))["metadata"]["generation"]
    again = await apply(kube, kube.deployment(replicas=9), settled=True)
    assert again._replace(resource_version=applied.resource_version) == applied  # a controller's status may have come
    assert (await kube.live(body))["metadata"]["generation"] == generation, "nothing is written for an ignored value"


@pytest.mark.parametrize("manager", ["kube-controller-manager", "kubectl"])
async def test_whoever_scales_it_keeps_it_over_every_apply(kube: Harness, manager: str) -> None:
    await apply(kube, kube.deployment(replicas=3))
    await scale(kube, 7, manager)
    for count, settled in ((4, True), (5, False)):
        await apply(kube, kube.deployment(replicas=count, paused=settled), settled=settled)
        assert await replicas(kube) == 7
    assert (await kube.live(kube.deployment()))["spec"].get("paused", False) is False
    await scale(kube, 8, manager)
    assert await replicas(kube) == 8


async def test_a_rule_that_comes_later_hands_over_first(kube: Harness) -> None:
    await apply(kube, kube.deployment(replicas=3), None)
    assert await owners(kube, kube.deployment()) == {"windlass/web": ""}
    await apply(kube, kube.deployment(replicas=5))
    assert await replicas(kube) == 3
    assert await owners(kube, kube.deployment()) == {IGNORED: ""}


async def test_a_rule_that_goes_brings_gits_value_back_and_leaves_no_trace(kube: Harness) -> None:
    body = kube.deployment(replicas=3)
    await apply(kube, body)
    await scale(kube, 7, "kube-controller-manager")
    await apply(kube, body, None, previous=body)
    assert await replicas(kube) == 3
    assert await owners(kube, body) == {"windlass/web": ""}


async def test_one_of_two_rules_that_goes_brings_its_field_back_and_no_other(kube: Harness) -> None:
    body = kube.deployment(replicas=3, minReadySeconds=5)
    await apply(kube, body, Left((("spec", "replicas"), ("spec", "minReadySeconds"))))
    body = kube.deployment(replicas=4, minReadySeconds=6)
    await apply(kube, body)
    spec = (await kube.live(body))["spec"]
    assert (spec["replicas"], spec["minReadySeconds"]) == (3, 6)


async def test_what_a_person_edits_is_undone_but_for_what_is_ignored(kube: Harness) -> None:
    body = kube.deployment(replicas=3)
    await apply(kube, body)
    await kube.edit_as("kubectl-edit", body, {"spec": {"replicas": 6, "paused": True}})
    applied = await apply(kube, body, settled=True)
    spec = (await kube.live(body))["spec"]
    assert (spec["replicas"], spec.get("paused", False)) == (6, False)
    assert applied.took == [f"Deployment.apps/{kube.namespace}/web: the fields of kubectl-edit"]


async def test_an_object_of_somebody_else_keeps_its_value_at_adoption(kube: Harness) -> None:
    await kube.create_as("kubectl-create", kube.deployment(replicas=6))
    await apply(kube, kube.deployment(replicas=3))
    assert await replicas(kube) == 6
    assert await owners(kube, kube.deployment()) == {IGNORED: ""}


async def test_an_object_that_vanished_meanwhile_begins_anew_with_gits_value(kube: Harness) -> None:
    await apply(kube, kube.deployment(replicas=3))
    await kube.client.request("DELETE", await kube.path(kube.deployment()))
    await apply(kube, kube.deployment(replicas=4), settled=True)
    assert await replicas(kube) == 4
    assert await owners(kube, kube.deployment()) == {IGNORED: ""}


async def test_a_part_of_a_list_that_has_keys_is_left_to_others(kube: Harness) -> None:
    body = kube.deployment()
    await apply(kube, body, IMAGE)
    change = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "nginx:2"}]}}}}
    await kube.edit_as("image-updater", body, change, patch="strategic-merge")
    await apply(kube, kube.deployment(minReadySeconds=3), IMAGE, settled=True)
    await apply(kube, kube.deployment(minReadySeconds=4), IMAGE)
    (container,) = (await kube.live(body))["spec"]["template"]["spec"]["containers"]
    assert (container["name"], container["image"]) == ("web", "nginx:2")


async def test_a_container_that_git_adds_later_begins_with_its_image(kube: Harness) -> None:
    every = Left((("spec", "template", "spec", "containers", "*", "image"),))
    body = kube.deployment()
    await apply(kube, body, every)
    body["spec"]["template"]["spec"]["containers"].insert(0, {"name": "proxy", "image": "envoy:1"})
    await apply(kube, body, every, digest="h-2", settled=False)
    containers = (await kube.live(body))["spec"]["template"]["spec"]["containers"]
    assert {one["name"]: one["image"] for one in containers} == {"web": "nginx:1", "proxy": "envoy:1"}


async def test_a_part_of_what_the_server_knows_as_a_whole_is_an_error_that_says_so(kube: Harness) -> None:
    left = Left((("spec", "selector", "matchLabels", "app"),))
    with pytest.raises(ApiError, match=r"/spec/selector/matchLabels/app: .*knows /spec/selector only as a whole"):
        await apply(kube, kube.deployment(), left)
    assert (await kube.live(kube.deployment()))["metadata"]["annotations"][HASH] == "h", "not settled"


async def test_what_a_named_manager_owns_is_left_to_it(kube: Harness) -> None:
    left = Left((), ("image-*",))
    body = kube.config_map(a="1", b="1")
    await apply(kube, body, left)
    await kube.edit_as("image-updater", body, {"data": {"a": "9"}})
    await apply(kube, kube.config_map(a="2", b="2"), left, previous=body)
    live = await kube.live(body)
    assert live["data"] == {"a": "9", "b": "2"}
    ours = own_entry(live["metadata"]["managedFields"], "windlass/web")
    assert ours is not None
    assert ours["fieldsV1"]["f:data"] == {"f:b": {}}


async def test_a_person_who_is_named_as_a_manager_keeps_what_git_does_not_say(kube: Harness) -> None:
    body = kube.deployment()
    await apply(kube, body, Left((), ("kubectl-rollout",)))
    stamp = {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}}
    await kube.edit_as("kubectl-rollout", body, stamp)
    await kube.edit_as("kubectl-edit", body, {"spec": {"paused": True}})
    await apply(kube, body, Left((), ("kubectl-rollout",)))
    spec = (await kube.live(body))["spec"]
    assert "paused" not in spec
    assert spec["template"]["metadata"]["annotations"] == {"kubectl.kubernetes.io/restartedAt": "now"}


async def test_a_key_of_a_secret_is_left_to_others_however_it_is_written(kube: Harness) -> None:
    left = Left((("data", "a"), ("stringData", "a")))
    metadata = {"name": "s", "namespace": kube.namespace}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"a": "1", "b": "1"}}
    await apply(kube, secret, left)
    await kube.edit_as("rotator", secret, {"data": {"a": "OQ=="}})
    await apply(kube, {**secret, "stringData": {"a": "2", "b": "2"}}, left, settled=True)
    assert (await kube.live(secret))["data"] == {"a": "OQ==", "b": "Mg=="}


async def test_what_was_empty_and_what_cannot_be_parted_look_alike_and_are_told_apart(kube: Harness) -> None:
    """``resources: {}`` and an atomic ``nodeSelector`` are both one field without children."""
    body = kube.deployment()
    pod = body["spec"]["template"]["spec"]
    pod["nodeSelector"] = {"disk": "ssd", "zone": "a"}
    pod["containers"][0]["resources"] = {}
    await apply(kube, body, None)
    pod["containers"][0]["resources"] = {"limits": {"cpu": "1"}}
    base = ("spec", "template", "spec")
    limits = Left(((*base, "containers", "*", "resources", "limits", "cpu"),))
    await apply(kube, body, limits)
    (container,) = (await kube.live(body))["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {"limits": {"cpu": "1"}}, "Git's value is the first one"
    with pytest.raises(ApiError, match=r"knows /spec/template/spec/nodeSelector only as a whole"):
        await apply(kube, body, Left(((*base, "nodeSelector", "zone"),)))
    assert (await kube.live(body))["spec"]["template"]["spec"]["nodeSelector"] == {"disk": "ssd", "zone": "a"}


async def test_fields_of_any_manager_may_be_left_but_never_our_own(kube: Harness) -> None:
    left = Left((), ("*",))
    await apply(kube, kube.config_map(a="1", b="1"), left)
    await kube.edit_as("kubectl-edit", kube.config_map(), {"data": {"a": "9", "c": "9"}})
    await apply(kube, kube.config_map(a="2", b="2"), left)
    assert (await kube.live(kube.config_map()))["data"] == {"a": "9", "b": "2", "c": "9"}


async def test_a_rule_costs_requests_once_and_without_a_rule_there_are_none(
    kube: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    request = kube.client.request

    async def counted(method: str, path: str, **options: Any) -> Any:
        asked.append(method)
        return await request(method, path, **options)

    monkeypatch.setattr(kube.client, "request", counted)
    costs = []
    for left, settled, count in ((None, False, 1), (REPLICAS, False, 2), (REPLICAS, True, 3), (REPLICAS, True, 4)):
        await kube.resource(kube.deployment())
        asked.clear()
        await apply(kube, kube.deployment(minReadySeconds=count), left, settled=settled)
        costs.append(asked.copy())
    assert costs == [["PATCH"], ["GET", "PATCH", "PATCH"], ["PATCH"], ["PATCH"]]
