"""What Promotion and Registry documents may say, and what is refused, with its field."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from windlass.documents.catalog import Catalog, Placed, build
from windlass.documents.parse import parse_documents
from windlass.documents.promotion import filled
from windlass.documents.types import Promotion

TOKEN = {"env": "TOKEN"}
IMAGE = "registry.example/shop/web"


def document(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "windlass.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def repository(**more: Any) -> dict[str, Any]:
    spec = {"url": "https://git.example/shop/manifests.git", "forge": "gitea", "pullRequests": {"token": TOKEN}}
    return document("Repository", "manifests", {**spec, **more})


def promotion(name: str = "web", **more: Any) -> dict[str, Any]:
    return document("Promotion", name, {"image": IMAGE, "target": {"repository": "manifests", "path": "web"}, **more})


def registry(**more: Any) -> dict[str, Any]:
    return document("Registry", "ci", {"type": "ci", "images": ["registry.example/shop/*"], "secrets": [TOKEN], **more})


def read(*documents: dict[str, Any]) -> tuple[Catalog, list[str]]:
    found = parse_documents(yaml.safe_dump_all(documents).encode(), "a.yaml")
    catalog = build([Placed(item, "a.yaml", line) for item, line in found.documents], found.errors)
    return catalog, [f"{error.field}: {error.message}" for error in catalog.errors]


def test_a_promotion_needs_an_image_and_a_target_only() -> None:
    catalog, errors = read(repository(), promotion(), registry())
    assert errors == []
    (view,) = catalog.promotions.values()
    assert (view.id, view.promotion.name, view.repository.name) == ("promotion_web", "web", "manifests")
    assert view.promotion.spec.pull_request.branch == "promote/{{promotion}}"
    assert list(catalog.registries) == ["ci"]


def test_its_digest_changes_with_its_repository() -> None:
    (one,) = read(repository(), promotion())[0].promotions.values()
    (other,) = read(repository(forge="forgejo"), promotion())[0].promotions.values()
    assert one.digest != other.digest


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"image": "registry.example/shop/web:1.0"}, "spec.image: expected an image without tag"),
        ({"image": "shop/web\n"}, "spec.image: expected an image without tag"),
        ({"policy": {"order": "semver", "range": "x y"}}, "spec.policy.range: expected a range of versions"),
        ({"policy": {"order": "oldest"}}, "spec.policy.order: expected one of semver, numeric"),
        ({"policy": {"pattern": "("}}, "spec.policy.pattern: expected a regular expression (RE2): missing"),
        ({"mode": "push"}, "spec.mode: expected one of pullRequest, commit"),
        ({"pullRequest": {"branch": "main"}}, "spec.pullRequest.branch: is the branch that"),
        ({"pullRequest": {"branch": "a..b"}}, "spec.pullRequest.branch: not a valid name"),
        ({"pullRequest": {"branch": "p/{{digest}}"}}, "spec.pullRequest.branch: {{digest}} is not known"),
        ({"pullRequest": {"title": "{{secret}}"}}, "spec.pullRequest.title: {{secret}} is not known"),
        ({"pullRequest": {"title": "two\nlines"}}, "spec.pullRequest.title: expected one line"),
        ({"pullRequest": {"mergeMethod": "octopus"}}, "spec.pullRequest.mergeMethod: expected one of merge"),
        ({"target": {"repository": "manifests", "path": "../x"}}, "spec.target.path: expected a folder"),
        ({"target": {"repository": "other"}}, "spec.target.repository: there is no valid Repository other"),
        ({"gates": {"soak": "soon"}}, "spec.gates.soak: expected a duration"),
        ({"gates": {"checks": [{"url": "file:///etc/passwd"}]}}, "spec.gates.checks[0].url: expected an http(s) URL"),
        ({"gates": {"checks": [{}]}}, "spec.gates.checks[0]: expected exactly one of url and command"),
        (
            {"gates": {"checks": [{"url": "https://x.example", "command": ["true"]}]}},
            "spec.gates.checks[0]: expected exactly one of url and command",
        ),
        ({"gates": {"checks": [{"command": ["/bin/sh"]}]}}, "spec.gates.checks[0].command[0]: expected the name"),
        ({"gates": {"checks": [{"command": [".."]}]}}, "spec.gates.checks[0].command[0]: expected the name"),
        (
            {"gates": {"checks": [{"command": ["smoke"], "timeout": "1h"}]}},
            "spec.gates.checks[0].timeout: expected a duration",
        ),
        (
            {"gates": {"after": [{"promotion": "web"}]}},
            "spec.gates.after[0].promotion: a promotion can't wait for itself",
        ),
        ({"gates": {"after": [{"promotion": "x"}]}}, "spec.gates.after[0].promotion: there is no valid Promotion x"),
        ({"unknown": 1}, "spec.unknown: unknown field"),
    ],
)
def test_what_a_promotion_cannot_mean_is_refused(more: dict[str, Any], error: str) -> None:
    catalog, errors = read(repository(), promotion(**more))
    assert errors[0].startswith(error)
    assert not catalog.promotions


def test_pull_requests_need_an_api() -> None:
    bare = repository()
    del bare["spec"]["pullRequests"]
    assert read(bare, promotion())[1][0].startswith("spec.mode: Repository manifests has no pullRequests")
    assert read(bare, promotion(mode="commit"))[1] == []


@pytest.mark.parametrize(
    ("api", "error"),
    [
        ({}, "spec.pullRequests: expected exactly one of token and app"),
        ({"app": {"id": "7", "privateKey": TOKEN}}, "spec.pullRequests.app: goes with forge: github only"),
        ({"token": {}}, "spec.pullRequests.token: expected exactly one of env and file"),
        ({"token": TOKEN, "api": "ftp://x"}, "spec.pullRequests.api: expected an http(s) URL"),
    ],
)
def test_what_an_api_cannot_mean_is_refused(api: dict[str, Any], error: str) -> None:
    assert read(repository(pullRequests=api))[1] == [error] or read(repository(pullRequests=api))[1][0].startswith(
        error
    )


def test_promotions_that_wait_for_each_other_are_refused_all_of_them() -> None:
    first = promotion("one", gates={"after": [{"promotion": "two"}]})
    second = promotion("two", gates={"after": [{"promotion": "one"}]})
    third = promotion("three", gates={"after": [{"promotion": "one"}]})
    catalog, errors = read(repository(), first, second, third)
    assert not catalog.promotions
    assert "spec.gates.after: these promotions wait for each other: one -> two -> one" in errors
    assert "spec.gates.after[0].promotion: there is no valid Promotion one" in errors


def test_an_image_cannot_come_from_a_promotion_of_another() -> None:
    other = promotion("other", image="registry.example/shop/api")
    _, errors = read(repository(), other, promotion(gates={"after": [{"promotion": "other"}]}))
    assert errors == ["spec.gates.after[0].promotion: Promotion other is of another image"]


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"secrets": []}, "spec.secrets: expected at least one secret"),
        ({"images": []}, "spec.images: expected at least one pattern"),
        ({"images": ["*"]}, "spec.images[0]: expected an image with its registry"),
        ({"images": ["shop/web"]}, "spec.images[0]: expected an image with its registry"),
        ({"images": ["registry.example/.*"], "type": "helm"}, "spec.type: expected one of ci, distribution"),
        ({"images": ["registry.example/(a|b)"]}, "spec.images[0]: expected an image with its registry"),
        ({"host": "a b"}, "spec.host: expected a host name"),
        ({"secrets": [{"env": "A", "file": "b"}]}, "spec.secrets[0]: expected exactly one of env and file"),
        ({"poll": "5m"}, "spec.poll: expected a registry's type"),
        ({"poll": "now", "type": "harbor"}, "spec.poll: expected a duration"),
        (
            {"poll": "5m", "type": "harbor", "images": ["*.example/shop/*"]},
            "spec.images: with poll, expected images of",
        ),
        (
            {"poll": "5m", "type": "harbor", "images": ["a.example/x", "b.example/x"]},
            "spec.images: with poll, expected",
        ),
        ({"poll": "5m", "type": "harbor", "api": "file:///x"}, "spec.api: expected an http(s) URL"),
        ({"poll": "5m", "type": "harbor", "trusted": ["https://x"]}, "spec.trusted[0]: expected a host name"),
        ({"api": "https://registry.example"}, "spec.api: goes with poll only"),
        (
            {"poll": "5m", "type": "harbor", "credentials": {"username": "a:b", "password": TOKEN}},
            "spec.credentials.username: expected a user name",
        ),
        (
            {"poll": "5m", "type": "harbor", "credentials": {"username": "a", "password": {}}},
            "spec.credentials.password: expected exactly one of env and file",
        ),
    ],
)
def test_what_a_registry_cannot_mean_is_refused(more: dict[str, Any], error: str) -> None:
    catalog, errors = read(registry(**more))
    assert errors[0].startswith(error)
    assert not catalog.registries


def test_a_registry_that_is_polled_needs_no_secret() -> None:
    catalog, errors = read(registry(type="distribution", secrets=[], poll="5m"))
    assert errors == []
    assert catalog.registries["ci"].spec.registry == "registry.example"


def test_words_are_put_in_once() -> None:
    assert filled("{{ name }} {{tag}}", {"name": "{{tag}}", "tag": "1"}) == "{{tag}} 1"


def test_a_promotion_has_a_queues_name_that_no_source_has() -> None:
    (view,) = read(repository(), promotion())[0].promotions.values()
    assert isinstance(view.promotion, Promotion)
    assert "_" in view.id.split("-")[0]
