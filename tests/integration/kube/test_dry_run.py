"""What a run would write, foreseen by the API server itself, through a client that can't write."""

from __future__ import annotations

from typing import Any

import pytest

from workers.kube.contest import Rules, nobody_may_take
from workers.kube.dry_run import DryRun, DryRunClient, Foreseen
from workers.kube.errors import ConflictError
from workers.kube.handoff import Left

from .conftest import Harness

REPLICAS = Left((("spec", "replicas"),))
IMAGE = Left((("spec", "template", "spec", "containers", "0", "image"),))


async def foresee(kube: Harness, body: dict[str, Any], left: Left | None = None, application: str = "web") -> Foreseen:
    rules = Rules(f"windlass/{application}", kube.applyset(application).id, False, nobody_may_take)
    dry_run, resource = DryRun(DryRunClient.over(kube.client), rules), await kube.resource(body)
    before = await owned(kube, body)
    live = await dry_run.read(resource, kube.key(body))
    seen = await dry_run.foresee(resource, body, digest="h", live=live, left=left)
    assert before == await owned(kube, body), "nothing is written"
    return seen


async def owned(kube: Harness, body: dict[str, Any]) -> Any:
    """What people say of the object, and who owns what of it, but for what its controller reports."""
    live = await kube.get(body)
    entries = live["metadata"]["managedFields"] if live else ()
    said = live and [live.get(name) for name in ("spec", "data")]
    return said, [entry for entry in entries if entry["manager"] != "kube-controller-manager"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_a_dry_run_client_sends_no_write(kube: Harness, method: str) -> None:
    client = DryRunClient.over(kube.client).acting_as("system:admin")
    with pytest.raises(ValueError, match="not in a dry run"):
        await client.request(method, "/api/v1/namespaces/default/configmaps")
    with pytest.raises(ValueError, match="not in a dry run"):
        await client.request("PATCH", "/api/v1/namespaces/default?dryRun=")
    params = {"fieldManager": "x", "dryRun": ""}
    patch = b'{"metadata":{"labels":{"a":"b"}}}'
    path = f"/api/v1/namespaces/{kube.namespace}"
    answer = await DryRunClient.over(kube.client).request(
        "PATCH", path, params=params, body=patch, content_type="application/merge-patch+json"
    )
    assert answer.json()["metadata"]["labels"]["a"] == "b"
    assert "a" not in (await kube.client.request("GET", path)).json()["metadata"]["labels"]


async def test_an_object_that_is_as_git_says_is_equal_and_one_that_is_missing_is_not(kube: Harness) -> None:
    body = kube.deployment()
    assert (await foresee(kube, body)).live is None
    await kube.apply("web", body)
    assert (await foresee(kube, body)).equal
    assert not (await foresee(kube, kube.deployment(paused=True))).equal


async def test_what_a_person_added_is_gone_and_falls_back_to_its_default(kube: Harness) -> None:
    body = kube.deployment()
    await kube.apply("web", body)
    change = {"spec": {"paused": True, "revisionHistoryLimit": 3}}
    await kube.edit_as("kubectl-edit", body, change)
    seen = await foresee(kube, body)
    assert "paused" not in seen.then["spec"]
    assert seen.then["spec"]["revisionHistoryLimit"] == 10
    await kube.apply("web", body)
    assert (await kube.live(body))["spec"] == seen.then["spec"], "so it comes"


@pytest.mark.parametrize("left", [REPLICAS, IMAGE])
async def test_a_rule_that_no_run_has_met_yet_changes_nothing(kube: Harness, left: Left) -> None:
    await kube.apply("web", kube.deployment())
    body = kube.deployment(replicas=4)
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "nginx:2"
    seen = await foresee(kube, body, left)
    assert seen.live is not None
    differs = {key for key in seen.then["spec"] if seen.then["spec"][key] != seen.live["spec"].get(key)}
    assert differs == ({"template"} if left is REPLICAS else {"replicas"})


async def test_what_another_application_has_is_an_error_that_names_it(kube: Harness) -> None:
    await kube.apply("web", kube.config_map(a="1"))
    with pytest.raises(ConflictError, match="application web has this object"):
        await foresee(kube, kube.config_map(a="2"), application="other")


async def test_an_object_whose_namespace_is_to_come_is_missing(kube: Harness) -> None:
    body = kube.config_map(a="1")
    body["metadata"]["namespace"] = f"{kube.namespace}-to-come"
    seen = await foresee(kube, body)
    assert (seen.live, seen.then["data"]) == (None, {"a": "1"})
