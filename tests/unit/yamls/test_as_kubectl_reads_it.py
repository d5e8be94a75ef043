"""The same document means the same to Windlass as to `sigs.k8s.io/yaml`, which is what kubectl reads it with."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from windlass.yamls import YamlError, load_all

REFERENCE = json.loads((Path(__file__).parents[2] / "data" / "yaml" / "reference.json").read_text())
DECIDES_BY_ACCIDENT = ("already set in map",)
"""Strict errors of the Go module: two values for one key. Lenient readers differ on which one counts."""
REFUSED_ON_PURPOSE = {
    "a: !!binary gIGC\n": "UTF-8",  # Go puts U+FFFD in place of bytes that are no text
    'a: !!python/object/apply:os.system ["id"]\n': "refused",
    "a: !!python/name:os.system\n": "refused",
    ".inf: 1\n": "infinity",
    ".nan: 1\n": "infinity",
    "3.5e38: 1\n": "32 bits",
    "1.5e300: 1\n": "32 bits",
    "a: 1\n\ufeffb: 2\n": "expected key",  # libyaml: a byte order mark inside a file
    "a: 1\n...\nb: 2\n": "document start",  # Go reads the first document only
}
READ_THOUGH_GO_REFUSES = {
    '{"a": "\\u00e9\\n\\t\\/"}\n': {"a": "é\n\t/"},  # JSON; kubectl reads it as such
    "%YAML 1.2\n---\na: 1\n": {"a": 1},
    "a: !!timestamp x\n": {"a": "x"},
}
READ_DIFFERENTLY = {"a: ! 1\n": {"a": 1}, "a: ! yes\n": {"a": True}}
"""libyaml doesn't tell a scalar with the non-specific tag from one without."""


def read(text: str) -> Any:
    documents = [parsed.value for parsed in load_all(text.encode())]
    return documents[0] if documents else None


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: 1 and 1.0 are, 1 and true are not."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return float(one) == float(other)
    return type(one) is type(other) and bool(one == other)


def overrides_by_order(case: dict[str, str]) -> bool:
    return any(word in case.get("strict_error", "") for word in DECIDES_BY_ACCIDENT)


def name(case: dict[str, str]) -> str:
    return case["yaml"][:40].encode("unicode_escape").decode()


LISTED = {**REFUSED_ON_PURPOSE, **READ_THOUGH_GO_REFUSES, **READ_DIFFERENTLY}
PLAIN = [case for case in REFERENCE if case["yaml"] not in LISTED and not overrides_by_order(case)]


@pytest.mark.parametrize("case", [c for c in PLAIN if "json" in c], ids=name)
def test_what_go_reads_is_read_alike(case: dict[str, Any]) -> None:
    assert same(read(case["yaml"]), case["json"])


@pytest.mark.parametrize("case", [c for c in PLAIN if "error" in c], ids=name)
def test_what_go_refuses_is_refused(case: dict[str, str]) -> None:
    with pytest.raises(YamlError):
        read(case["yaml"])


@pytest.mark.parametrize("case", [c for c in REFERENCE if overrides_by_order(c)], ids=name)
def test_two_values_for_one_key_are_refused_or_read_alike(case: dict[str, Any]) -> None:
    """A key after `<<` replaces what that brought, to every reader; all else is refused."""
    with contextlib.suppress(YamlError):
        assert same(read(case["yaml"]), case["json"])
        assert "<<" in case["yaml"]


@pytest.mark.parametrize("text", ["{a: 1, <<: {a: 2}}", "{<<: {a: 2}, <<: {a: 3}}", "{a: 3, <<: [{a: 1}, {a: 2}]}"])
def test_a_key_before_a_merge_that_holds_it_too(text: str) -> None:
    with pytest.raises(YamlError, match="stands before it too"):
        read(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{<<: {a: 1, b: 1}, a: 2}", {"a": 2, "b": 1}),
        ("{<<: [{a: 1}, {a: 2, b: 3}], a: 4}", {"a": 4, "b": 3}),
        ("{<<: [{a: 1}, {a: 2, b: 3}]}", {"a": 1, "b": 3}),
    ],
)
def test_a_key_after_a_merge_replaces_what_it_brought(text: str, value: dict[str, int]) -> None:
    assert read(text) == value


@pytest.mark.parametrize(("text", "reason"), REFUSED_ON_PURPOSE.items())
def test_what_is_refused_on_purpose_says_why(text: str, reason: str) -> None:
    with pytest.raises(YamlError, match=reason):
        read(text)


@pytest.mark.parametrize(("text", "value"), [*READ_THOUGH_GO_REFUSES.items(), *READ_DIFFERENTLY.items()])
def test_where_libyaml_and_go_differ_nothing_is_lost(text: str, value: Any) -> None:
    assert read(text) == value


@pytest.mark.parametrize("text", ['{1: a, "1": b}', '{true: a, "true": b}', "{1: a, 1.0: b}"])
def test_scalars_that_become_one_key_are_a_duplicate(text: str) -> None:
    with pytest.raises(YamlError, match="twice"):
        read(text)


def test_the_recorded_cases_are_all_there() -> None:
    assert len(REFERENCE) > 400
    assert all("json" in case or "error" in case for case in REFERENCE)
    assert {case["yaml"] for case in REFERENCE} >= set(LISTED)
