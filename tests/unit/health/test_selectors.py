"""How the pods of a workload are asked for."""

from __future__ import annotations

from typing import Any

import pytest

from workers.health.diagnose import _selector

EXPRESSIONS = [
    {"key": "tier", "operator": "In", "values": ["web", "api"]},
    {"key": "env", "operator": "NotIn", "values": ["test"]},
    {"key": "app", "operator": "Exists"},
    {"key": "old", "operator": "DoesNotExist"},
]


@pytest.mark.parametrize(
    ("selector", "query"),
    [
        ({"matchLabels": {"app": "web", "tier": "front"}}, "app=web,tier=front"),
        ({"matchExpressions": EXPRESSIONS}, "tier in (web,api),env notin (test),app,!old"),
        ({"matchLabels": {"app": "web"}, "matchExpressions": EXPRESSIONS[2:3]}, "app=web,app"),
        ({"app": "web", "tier": "front"}, "app=web,tier=front"),
        ({}, ""),
    ],
)
def test_a_selector_as_a_query(selector: dict[str, Any], query: str) -> None:
    assert _selector(selector) == query
