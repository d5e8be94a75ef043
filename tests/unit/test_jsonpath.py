"""JSONPath as `kubectl wait --for=jsonpath` takes it."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.jsonpath import JsonPathError, find, parse, shown

OBJECT: dict[str, Any] = {
    "metadata": {"labels": {"app.kubernetes.io/name": "web"}},
    "status": {
        "phase": "Running",
        "ready": True,
        "replicas": 3,
        "items": [{"name": "a", "up": True, "n": 1}, {"name": "b", "up": False, "n": 2}],
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "Synced", "status": "False"}],
        "nested": [{"x": {"y": "1"}, "z": 1}, {"x": {"y": "2"}, "z": 2}],
    },
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("{.status.phase}", ["Running"]),
        (".status.phase", ["Running"]),
        ("status.phase", ["Running"]),
        ("{$.status.phase}", ["Running"]),
        ("{.status['phase']}", ["Running"]),
        ("{.status.missing}", []),
        ("{.status.phase.deeper}", []),
        ("{.status.items[0].name}", ["a"]),
        ("{.status.items[-1].name}", ["b"]),
        ("{.status.items[2].name}", []),
        ("{.status.items[*].name}", ["a", "b"]),
        ("{.status.items.*.name}", ["a", "b"]),
        (r"{.metadata.labels.app\.kubernetes\.io/name}", ["web"]),
        ("{.metadata.labels['app.kubernetes.io/name']}", ["web"]),
        ('{.status.conditions[?(@.type=="Ready")].status}', ["True"]),
        ("{.status.conditions[?(@.type == 'Ready')].status}", ["True"]),
        ('{.status.conditions[?(@.type!="Ready")].status}', ["False"]),
        ("{.status.items[?(@.up==true)].name}", ["a"]),
        ("{.status.items[?(@.n==2)].name}", ["b"]),
        ("{.status.items[?(@.missing!=2)].name}", []),
        ('{.status.nested[?(@.x.y=="2")].z}', [2]),
    ],
)
def test_a_path(path: str, found: list[Any]) -> None:
    assert find(parse(path), OBJECT) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "{.}",
        "{.a",
        "{..a}",
        "{.a[}",
        "{.a[1:2]}",
        "{.a[0,1]}",
        "{.a[?(@.b=~'x')]}",
        "{.a b}",
        "{.a}{.b}",
        "x" * 501,
    ],
)
def test_what_is_not_a_path(text: str) -> None:
    with pytest.raises(JsonPathError, match="expected"):
        parse(text)


def test_scalars_are_compared_as_kubectl_writes_them() -> None:
    assert [shown(value) for value in (True, False, 3, "x", None, {}, [])] == [
        "true",
        "false",
        "3",
        "x",
        "",
        None,
        None,
    ]


@given(st.text(alphabet="{}$.[]*?@()='\"\\ab0-1! ", max_size=60))
def test_any_text_is_a_path_or_an_error(text: str) -> None:
    with suppress(JsonPathError):
        assert isinstance(find(parse(text), OBJECT), list)


@pytest.mark.parametrize(
    "part", ["[?(@.a==", ".a", "[*]", "[?(@" + ".a" * 200, "['", r".\.", "-", "[?(@.a=='" + "x" * 400]
)
def test_a_hostile_path_takes_no_time(part: str) -> None:
    """Generous: one that backtracks would take centuries."""
    started = time.process_time()
    with suppress(JsonPathError):
        find(parse((part * 500)[:500]), OBJECT)
    assert time.process_time() - started < 2
