"""`sync.ignore` and `windlass diff`, whole: what is left to others stays theirs over commits, heals and rules that change."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.test_drift import Person, made, until
from tests.e2e.world import config_map
from tests.parts.control_plane import ControlPlane

pytestmark = pytest.mark.e2e

REPLICAS = {"group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/replicas"]}
SECRET_VALUES = ("first-secret-value", "second-secret-value", "by-hand-secret-value")


@pytest.fixture(scope="module")
def person(parts_folder: Path, control_plane: ControlPlane) -> Iterator[Person]:
    world = made(parts_folder, f"ignore{time.time_ns()}", control_plane)
    try:
        world.start()
        one = Person(control_plane, world)
        one.documents(sync={"ignore": [REPLICAS]})
        yield one
    finally:
        world.stop()


def deployment(name: str, replicas: int, **spec: Any) -> str:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "web", "image": "nginx:1"}]}}
    content = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template, **spec}
    return yaml.safe_dump({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": content})


def spec_of(person: Person, name: str) -> dict[str, Any]:
    found: dict[str, Any] = (person.get(name, "deployments") or {"spec": {}})["spec"]
    return found


def scale(person: Person, name: str, count: int) -> None:
    """As an autoscaler does it."""
    change = {"spec": {"replicas": count}}
    path = f"{person.path(name, 'deployments')}/scale?fieldManager=kube-controller-manager"
    person._plane.request("PATCH", path, change, content_type="application/merge-patch+json")


def test_an_autoscaler_keeps_its_replicas_over_commits_edits_and_a_deletion(person: Person) -> None:
    file = "manifests/web.yaml"
    person.world.push({file: deployment("web", 3)})
    assert spec_of(person, "web")["replicas"] == 3, "Git's value is the first one"
    scale(person, "web", 7)
    assert person.world.push({file: deployment("web", 4)}).applied == 0, "nothing else changed: nothing is written"
    assert person.world.push({file: deployment("web", 5, minReadySeconds=5)}).applied == 1
    assert (spec_of(person, "web")["replicas"], spec_of(person, "web")["minReadySeconds"]) == (7, 5)
    person.edit("web", {"spec": {"minReadySeconds": 9, "paused": True, "replicas": 8}}, kind="deployments")
    until(lambda: spec_of(person, "web").get("minReadySeconds") == 5, person.world)
    until(lambda: "kubectl-edit" not in person.managers("web", "deployments"), person.world)
    assert spec_of(person, "web")["replicas"] == 8
    assert "paused" not in spec_of(person, "web")
    uid = person.get("web", "deployments")["metadata"]["uid"]  # type: ignore[index]
    person._plane.request("DELETE", person.path("web", "deployments"))
    until(
        lambda: (person.get("web", "deployments") or {"metadata": {"uid": uid}})["metadata"]["uid"] != uid, person.world
    )
    until(lambda: spec_of(person, "web").get("replicas") == 5, person.world)


def test_a_rule_that_goes_brings_gits_value_back_and_one_that_comes_hands_over(person: Person) -> None:
    try:
        person.world.push({"manifests/shop.yaml": deployment("shop", 3)})
        scale(person, "shop", 6)
        person.documents()
        until(lambda: spec_of(person, "shop")["replicas"] == 3, person.world)
        until(lambda: "windlass-ignored" not in person.managers("shop", "deployments"), person.world)
    finally:
        person.documents(sync={"ignore": [REPLICAS]})
    until(lambda: "windlass-ignored" in person.managers("shop", "deployments"), person.world)
    scale(person, "shop", 9)
    person.world.push({"manifests/shop.yaml": deployment("shop", 2, minReadySeconds=1)})
    assert (spec_of(person, "shop")["replicas"], spec_of(person, "shop")["minReadySeconds"]) == (9, 1)


def test_what_a_mutating_admission_changes_is_no_drift(person: Person, control_plane: ControlPlane) -> None:
    world = person.world
    root = "/apis/admissionregistration.k8s.io/v1"
    name = f"{world.name}.windlass.test"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE", "UPDATE"]}
    mine = f"object.metadata.name == 'mutated' && request.namespace == '{world.name}'"
    change = "Object{data: {'value': 'by admission', 'more': 'by admission'}}"
    policy = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "IfNeeded",
        "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [{"name": "mine", "expression": mine}],
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": change}}],
    }
    objects = (("Policy", "policies", policy), ("PolicyBinding", "policybindings", {"policyName": name}))
    for kind, plural, spec in objects:
        body = {"apiVersion": root[6:], "kind": f"MutatingAdmission{kind}", "metadata": {"name": name}, "spec": spec}
        control_plane.request("POST", f"{root}/mutatingadmission{plural}", body)
    try:
        until(lambda: _admitted(control_plane, world.name), world)
        person.have("canary")
        world.push({"manifests/mutated.yaml": config_map("mutated", "git")})
        assert person.get("mutated")["data"] == {"value": "by admission", "more": "by admission"}  # type: ignore[index]
        for _ in range(3):  # whatever was to come of the mutation has come by then
            person.edit("canary", {"data": {"value": "by hand"}})
            until(lambda: person.value("canary") == "git", world)
        until(lambda: person.state().drift.count == 0, world)
        path = person.path("mutated")
        writes = [
            event
            for event in control_plane.audited(user_agent="windlass")
            if event["requestURI"].startswith(path) and event["verb"] == "patch"
        ]
        assert 1 <= len(writes) <= 2
        assert world.push({"manifests/mutated.yaml": config_map("mutated", "git 2")}).errors == []
    finally:
        for _, plural, _ in objects:
            control_plane.request("DELETE", f"{root}/mutatingadmission{plural}/{name}")
        world.push({"manifests/mutated.yaml": None})


def _admitted(plane: ControlPlane, namespace: str) -> bool:
    """Does the API server know of the policy by now?"""
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mutated"}}
    made = plane.request("POST", f"/api/v1/namespaces/{namespace}/configmaps?dryRun=All", body)
    return "by admission" in str(made.get("data"))


def test_diff_tells_what_a_run_would_change_and_no_secret(person: Person, control_plane: ControlPlane) -> None:
    world = person.world
    secret = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: login\nstringData:\n  password: {}\n  user: shop\n"
    person.documents(sync={"ignore": [REPLICAS], "selfHeal": False})
    world.push(
        {
            "manifests/login.yaml": secret.format(SECRET_VALUES[0]),
            "manifests/lost.yaml": config_map("lost", "git"),
            "manifests/kept.yaml": config_map("kept", "git"),
            "manifests/scaled.yaml": deployment("scaled", 2),
        }
    )
    assert world.windlass.run("sync", world.name).returncode == 0
    equal = world.windlass.run("diff", world.name)
    assert (equal.returncode, equal.stdout) == (0, ""), equal.stderr
    scale(person, "scaled", 5)
    person.edit("scaled", {"spec": {"paused": True}}, kind="deployments")
    person.edit("kept", {"data": {"value": "by hand", "more": "by hand"}}, manager="some-controller")
    person.delete("lost")
    last = {"kubectl.kubernetes.io/last-applied-configuration": SECRET_VALUES[2]}
    edit = {"stringData": {"password": SECRET_VALUES[2]}, "metadata": {"annotations": last}}
    person.edit("login", edit, kind="secrets", manager="kubectl-client-side-apply")

    def versions() -> list[int]:
        """Of what no controller reports on, and the generation of what one does."""
        found = [person.get("kept"), person.get("login", "secrets"), person.get("scaled", "deployments")]
        return [one["metadata"].get("generation") or one["metadata"]["resourceVersion"] for one in found if one]

    before = versions()

    text = world.windlass.run("diff", world.name)
    assert text.returncode == 1, text.stderr
    shown = world.windlass.run("diff", world.name, "--output", "json")
    found = {one["object"]: one for one in json.loads(shown.stdout)["differences"]}
    names = {f"Secret/{world.name}/login", f"ConfigMap/{world.name}/lost", f"ConfigMap/{world.name}/kept"}
    assert found.keys() == names | {f"Deployment.apps/{world.name}/scaled"}
    assert found[f"ConfigMap/{world.name}/lost"]["status"] == "missing"
    kept = found[f"ConfigMap/{world.name}/kept"]["text"].splitlines()
    assert [line for line in kept if line.startswith(("-  value", "+  value"))] == [
        "-  value: by hand",
        "+  value: git",
    ]
    scaled = found[f"Deployment.apps/{world.name}/scaled"]["text"].splitlines()
    assert [line for line in scaled[2:] if line[0] in "+-"] == ["-  paused: true"]
    assert "+  password: '(hidden: its value changes)'" in found[f"Secret/{world.name}/login"]["text"]
    everything = text.stdout + text.stderr + shown.stdout + shown.stderr + world.windlass.log()
    assert not [value for value in SECRET_VALUES if value in everything]
    assert before == versions(), "nothing was written"
    assert world.windlass.run("diff", "nobody").returncode == 2

    assert world.windlass.run("sync", world.name).returncode == 0
    assert world.windlass.run("diff", world.name).returncode == 0
    assert spec_of(person, "scaled")["replicas"] == 5


def test_without_self_heal_what_is_left_to_others_is_not_reported(person: Person) -> None:
    person.documents(sync={"ignore": [REPLICAS, {"kind": "ConfigMap", "managers": ["flags"]}], "selfHeal": False})
    person.world.push(
        {"manifests/quiet.yaml": deployment("quiet", 2), "manifests/flags.yaml": config_map("flags", "git")}
    )
    person.edit("quiet", {"spec": {"replicas": 5}}, kind="deployments", manager="kubectl-scale")
    person.edit("flags", {"data": {"value": "on"}}, manager="flags")
    person.edit("quiet", {"spec": {"paused": True}}, kind="deployments", manager="some-controller")
    person.edit("kept", {"data": {"value": "by hand"}})  # what came before was seen by the time that this is reported
    until(lambda: f"ConfigMap/{person.world.name}/kept" in person.state().drift.objects, person.world)
    assert person.state().drift.objects.keys() == {f"ConfigMap/{person.world.name}/kept"}
    person.world.push({"manifests/flags.yaml": config_map("flags", "git 2")})
    assert (person.value("flags"), spec_of(person, "quiet")["replicas"]) == ("on", 5)
    assert person.state().drift.objects.keys() == {f"ConfigMap/{person.world.name}/kept"}
