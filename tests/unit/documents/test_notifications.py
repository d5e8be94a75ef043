"""What Notification documents may say, and what is refused, with its field."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from windlass.documents.catalog import Catalog, Placed, build
from windlass.documents.parse import parse_documents

URL = {"env": "CHAT_URL"}


def read(**spec: Any) -> tuple[Catalog, list[str]]:
    document = {
        "apiVersion": "windlass.dev/v1alpha1",
        "kind": "Notification",
        "metadata": {"name": "chat"},
        "spec": {"to": {"slack": {"url": URL}}, "events": ["healthy"], **spec},
    }
    found = parse_documents(yaml.safe_dump(document).encode(), "a.yaml")
    catalog = build([Placed(item, "a.yaml", line) for item, line in found.documents], found.errors)
    return catalog, [f"{error.field}: {error.message}" for error in catalog.errors]


def test_an_address_and_an_event_are_enough() -> None:
    catalog, errors = read()
    assert errors == []
    rule = catalog.notifications["chat"]
    assert rule.spec.to.kind == "slack"
    assert rule.wants("healthy", application="shop")
    assert not rule.wants("degraded", application="shop")


def test_patterns_choose_applications_and_promotions() -> None:
    rule = read(events=["healthy", "promotion"], applications=["shop-*"], promotions=["web"])[0].notifications["chat"]
    assert rule.wants("healthy", application="shop-a")
    assert not rule.wants("healthy", application="web")
    assert rule.wants("promotion", promotion="web")
    assert not rule.wants("promotion", promotion="shop-a")


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"to": {}}, "spec.to: expected exactly one of"),
        ({"to": {"slack": {"url": URL}, "teams": {"url": URL}}}, "spec.to: expected exactly one of"),
        ({"to": {"slack": {"url": "https://hooks.example/secret"}}}, "spec.to.slack.url: expected"),
        ({"to": {"slack": {"url": {}}}}, "spec.to.slack.url: expected exactly one of env and file"),
        ({"to": {"slack": {"url": URL, "key": URL}}}, "spec.to.slack.key: unknown field"),
        ({"to": {"webhook": {"url": URL, "key": {"env": "a b"}}}}, "spec.to.webhook.key.env: expected the name"),
        ({"to": {"pager": {"url": URL}}}, "spec.to.pager: unknown field"),
        ({"events": []}, "spec.events: expected at least one"),
        ({"events": ["healed"]}, "spec.events[0]: expected one of started, applied"),
        ({"applications": ["a b"]}, "spec.applications[0]: expected a pattern"),
        ({"template": "{{ secret }}"}, "spec.template: {{secret}} is not known"),
        ({"template": "x" * 2001}, "spec.template: expected at most 2000"),
        (
            {"to": {"githubDeployments": {"token": URL}}, "events": ["healthy", "drift"]},
            "spec.events[1]: is no event of a deployment",
        ),
        (
            {"to": {"githubDeployments": {"token": URL, "environment": "{{image}}"}}},
            "spec.to.githubDeployments.environment: {{image}} is not known",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_field(more: dict[str, Any], error: str) -> None:
    catalog, errors = read(**more)
    assert catalog.notifications == {}
    assert any(found.startswith(error) for found in errors), errors
