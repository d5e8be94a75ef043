"""The CustomResourceDefinitions on the real API server: taken without a warning; it fills in the defaults, and refuses what
parsing refuses."""

from __future__ import annotations

import json
import urllib.error
from typing import Any

import pytest

from tests.parts.control_plane import ControlPlane
from tests.parts.resources import DEFINITIONS, place, resource
from windlass.documents.crds import definition
from windlass.documents.parse import SPECS

pytestmark = pytest.mark.integration

COMMIT = "0123456789" * 4
SECRET = {"secret": {"name": "git", "key": "token"}}
DESTINATION = {"cluster": "local", "namespace": "shop"}
MAIN = {"repository": "shop", "branch": "main"}
REPOSITORY = {"url": "https://git.example/shop.git"}


def application(source: dict[str, Any] | None = None, **spec: Any) -> tuple[str, dict[str, Any]]:
    return "Application", {"sources": [MAIN if source is None else source], "destination": DESTINATION, **spec}


VALID: dict[str, tuple[str, dict[str, Any]]] = {
    "the smallest application": application(),
    "a commit": application({"repository": "shop", "commit": COMMIT}),
    "a range, rendered by Helm with values of any form": application(
        {
            "repository": "shop",
            "semver": ">=1.0.0 <2",
            "path": "chart",
            "helm": {"values": {"a": [1, {"b": None}], "c": "x"}},
        }
    ),
    "everything that sync may say": application(
        sync={
            "automatic": False,
            "dependsOn": ["db", {"application": "queue", "until": "applied"}],
            "pruneLimit": "50%",
            "timeout": "1h30m",
            "ignore": [{"kind": "Deployment", "jsonPointers": ["/spec/replicas"]}, {"kind": "*", "managers": ["hpa"]}],
            "rollback": "automatic",
        },
    ),
    "a limit as a number": application(sync={"pruneLimit": 7}),
    "an account in two forms": application(destination={**DESTINATION, "serviceAccount": "deployer"}),
    "an account with its namespace": application(
        destination={**DESTINATION, "serviceAccount": {"name": "deployer", "namespace": "shop"}}
    ),
    "health by a value of any type": application(
        health=[{"kind": "Widget", "jsonPath": "{.status.ready}", "value": True}, {"kind": "Gadget", "current": "true"}]
    ),
    "a repository over SSH": (
        "Repository",
        {"url": "git@git.example:shop.git", "credentials": {"sshKey": SECRET, "knownHosts": SECRET}},
    ),
    "a repository that must be signed": (
        "Repository",
        {**REPOSITORY, "webhook": {"secrets": [SECRET]}, "signedCommits": {"keys": [{"kind": "gpg", **SECRET}]}},
    ),
    "this cluster": ("Cluster", {"inCluster": True}),
    "another cluster": ("Cluster", {"server": "https://10.0.0.1:6443", "token": SECRET}),
    "a promotion": ("Promotion", {"image": "registry.example/shop/web", "target": {"repository": "shop"}}),
    "a promotion with checks": (
        "Promotion",
        {
            "image": "registry.example/shop/web",
            "target": {"repository": "shop"},
            "gates": {"checks": [{"url": "https://shop.example/"}, {"command": ["smoke", "--quick"]}]},
        },
    ),
    "the smallest pipeline": (
        "Pipeline",
        {"source": {"repository": "shop"}, "image": "registry.example:5000/shop/web"},
    ),
    "a pipeline that says everything": (
        "Pipeline",
        {
            "source": {"repository": "shop", "branch": "release/1.x", "paths": ["web", "go.mod"]},
            "image": "shop/web__x",
            "context": "web",
            "dockerfile": "web/Dockerfile.prod",
            "target": "final",
            "platform": "linux/arm/v7",
            "arguments": {"VERSION": "1", "_x9": ""},
            "credentials": SECRET,
            "insecure": True,
            "trusted": True,
            "timeout": "1h30m",
        },
    ),
    "a notification": (
        "Notification",
        {"to": {"webhook": {"url": SECRET, "key": SECRET, "private": True}}, "events": ["healthy", "drift"]},
    ),
    "deployments": ("Notification", {"to": {"githubDeployments": {"token": SECRET}}, "events": ["applied"]}),
    "a registry": ("Registry", {"type": "ci", "images": ["registry.example/shop/*"], "secrets": [SECRET]}),
    "a registry that is polled": ("Registry", {"type": "harbor", "images": ["registry.example/shop/*"], "poll": "5m"}),
}
WRONG: dict[str, tuple[tuple[str, dict[str, Any]], str]] = {
    "no source": (("Application", {"sources": [], "destination": DESTINATION}), "sources"),
    "a source without a ref": (application({"repository": "shop"}), "exactly one of branch, tag, commit and semver"),
    "two refs": (application({**MAIN, "tag": "v1"}), "exactly one of branch, tag, commit and semver"),
    "half a commit": (application({"repository": "shop", "commit": "0123abc"}), "commit"),
    "two renderers": (application({**MAIN, "helm": {}, "kustomize": {}}), "at most one of helm, kustomize and jsonnet"),
    "a folder outside": (application({**MAIN, "path": "/etc"}), "path"),
    "a rule that ignores nothing": (application(sync={"ignore": [{"kind": "Pod"}]}), "jsonPointers, managers, or both"),
    "a duration in words": (application(sync={"timeout": "soon"}), "timeout"),
    "a misspelt rollback": (application(sync={"rollback": "yes"}), "rollback"),
    "a misspelt field": (application(sync={"selfheal": True}), "selfheal"),
    "a text for a number": (("Cluster", {"inCluster": True, "maxConcurrentRequests": "many"}), "maxConcurrentRequests"),
    "no way to a cluster": (("Cluster", {}), "exactly one of inCluster, kubeconfig and server"),
    "two ways to a cluster": (
        ("Cluster", {"inCluster": True, "kubeconfig": "/a"}),
        "exactly one of inCluster, kubeconfig and server",
    ),
    "a server without a token": (("Cluster", {"server": "https://10.0.0.1"}), "server and token go together"),
    "an unknown forge": (("Repository", {**REPOSITORY, "forge": "sourceforge"}), "forge"),
    "a password without a name": (
        ("Repository", {**REPOSITORY, "credentials": {"password": SECRET}}),
        "the field username is missing",
    ),
    "a token for SSH": (
        ("Repository", {"url": "git@git.example:shop.git", "credentials": {"token": SECRET}}),
        "sshKey with an SSH URL",
    ),
    "pull requests without a forge": (
        ("Repository", {**REPOSITORY, "pullRequests": {"token": SECRET}}),
        "forge: generic has no pull requests",
    ),
    "health in two ways": (
        application(health=[{"kind": "A", "current": "true", "jsonPath": "{.a}"}]),
        "exactly one of",
    ),
    "a secret from the environment": (
        ("Repository", {**REPOSITORY, "webhook": {"secrets": [{"env": "WINDLASS_KEY"}]}}),
        "secret",
    ),
    "a secret from a file": (
        ("Repository", {**REPOSITORY, "credentials": {"token": {"file": "/etc/windlass/key/key"}}}),
        "file",
    ),
    "a secret of another namespace": (
        (
            "Repository",
            {**REPOSITORY, "credentials": {"token": {"secret": {**SECRET["secret"], "namespace": "kube-system"}}}},
        ),
        "namespace",
    ),
    "a key without its kind": (("Repository", {**REPOSITORY, "signedCommits": {"keys": [{"key": "x"}]}}), "kind"),
    "a range without its order": (
        (
            "Promotion",
            {"image": "a/b", "target": {"repository": "shop"}, "policy": {"order": "newest", "range": ">=1"}},
        ),
        "semver",
    ),
    "a check of nothing": (
        ("Promotion", {"image": "a/b", "target": {"repository": "shop"}, "gates": {"checks": [{"status": 200}]}}),
        "exactly one of url and command",
    ),
    "a notification to nobody": (
        ("Notification", {"to": {}, "events": ["healthy"]}),
        "exactly one of slack, teams, discord, webhook, cloudevents and githubDeployments",
    ),
    "a notification to two": (
        ("Notification", {"to": {"slack": {"url": SECRET}, "teams": {"url": SECRET}}, "events": ["healthy"]}),
        "exactly one of slack",
    ),
    "an unknown event": (("Notification", {"to": {"slack": {"url": SECRET}}, "events": ["healed"]}), "events"),
    "a promotion of a tag": (("Promotion", {"image": "a/b:v1", "target": {"repository": "shop"}}), "image"),
    **{
        f"a pipeline with {what}": (
            ("Pipeline", {"source": {"repository": "shop"}, "image": "a.b/web", **spec}),
            said,
        )
        for what, spec, said in (
            ("a tag", {"image": "a.b/web:v1"}, "spec.image"),
            ("a digest", {"image": "a.b/web@sha256:" + "0" * 64}, "spec.image"),
            ("no image's name", {"image": "A.B/Web"}, "spec.image"),
            ("a branch of no name", {"source": {"repository": "shop", "branch": ""}}, "spec.source.branch"),
            ("a repository's address", {"source": {"repository": "https://git.example/a"}}, "spec.source.repository"),
            ("a context elsewhere", {"context": "/etc"}, "spec.context"),
            ("a Dockerfile elsewhere", {"dockerfile": "a//b"}, "spec.dockerfile"),
            ("half a platform", {"platform": "linux"}, "spec.platform"),
            ("an argument of no name", {"arguments": {"a-b": "1"}}, "letters, digits and underscores"),
            ("a time in words", {"timeout": "soon"}, "spec.timeout"),
            ("a token of the environment", {"credentials": {"env": "TOKEN"}}, "credentials"),
            ("a misspelt field", {"trust": True}, "trust"),
        )
    },
    "a registry that nobody signs": (
        ("Registry", {"type": "ci", "images": ["a.b/*"], "secrets": []}),
        "at least one secret",
    ),
}


@pytest.mark.parametrize("kind", SPECS)
def test_a_definition_is_taken_without_a_warning(control_plane: ControlPlane, kind: str) -> None:
    made = definition(kind)
    # Another group and name: the kinds themselves may be there already.
    made["spec"]["group"] = "dry.windlass.dev"
    made["metadata"]["name"] = f"{made['spec']['names']['plural']}.dry.windlass.dev"
    assert not control_plane.warnings(DEFINITIONS, made)


@pytest.mark.parametrize(("kind", "spec"), VALID.values(), ids=VALID)
def test_what_is_valid_is_taken(defined: ControlPlane, namespace: str, kind: str, spec: dict[str, Any]) -> None:
    path = f"{place(namespace, kind)}?fieldValidation=Strict"
    defined.request("POST", path, resource(kind, "shop", spec))


@pytest.mark.parametrize(("made", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refused_with_its_reason(
    defined: ControlPlane, namespace: str, made: tuple[str, dict[str, Any]], said: str
) -> None:
    kind, spec = made
    with pytest.raises(urllib.error.HTTPError) as caught:
        defined.request("POST", f"{place(namespace, kind)}?fieldValidation=Strict", resource(kind, "shop", spec))
    assert said in json.loads(caught.value.read())["message"]


def test_a_name_that_is_too_long_for_a_document_is_refused(defined: ControlPlane, namespace: str) -> None:
    kind, spec = application()
    with pytest.raises(urllib.error.HTTPError) as caught:
        defined.request("POST", place(namespace, kind), resource(kind, "a" * 64, spec))
    assert "metadata.name" in json.loads(caught.value.read())["message"]


def test_what_is_left_out_is_filled_in(defined: ControlPlane, namespace: str) -> None:
    kind, spec = application()
    made: Any = defined.request("POST", place(namespace, kind), resource(kind, "shop", spec))
    assert made["spec"]["sync"] == {
        "automatic": True,
        "prune": True,
        "force": False,
        "selfHeal": True,
        "replace": False,
    }
    made = defined.request("POST", place(namespace, "Cluster"), resource("Cluster", "home", {"inCluster": True}))
    assert made["spec"] == {"inCluster": True, "namespace": "windlass", "maxConcurrentRequests": 32}


def test_kubectl_shows_revision_sync_health_and_age(defined: ControlPlane, namespace: str) -> None:
    """As kubectl asks: a Table, of which it shows the columns of priority 0."""
    kind, spec = application()
    defined.request("POST", place(namespace, kind), resource(kind, "shop", spec))
    status = {"revision": COMMIT, "sync": "Synced", "health": "Healthy", "observedGeneration": 1}
    defined.request(
        "PATCH",
        f"{place(namespace, kind)}/shop/status?fieldManager=test",
        {"status": status},
        content_type="application/merge-patch+json",
    )
    table: Any = defined.table(place(namespace, kind))
    shown = [one["name"] for one in table["columnDefinitions"] if one["priority"] == 0]
    assert shown == ["Name", "Revision", "Sync", "Health", "Age"]
    assert table["rows"][0]["cells"][:4] == ["shop", COMMIT, "Synced", "Healthy"]


def test_kubectl_shows_what_a_pipeline_builds(defined: ControlPlane, namespace: str) -> None:
    kind, spec = VALID["the smallest pipeline"]
    defined.request("POST", place(namespace, kind), resource(kind, "web", spec))
    table: Any = defined.table(place(namespace, kind))
    shown = [one["name"] for one in table["columnDefinitions"] if one["priority"] == 0]
    assert shown == ["Name", "Image", "Repository", "Ready", "Age"]
    assert table["rows"][0]["cells"][:3] == ["web", spec["image"], "shop"]
