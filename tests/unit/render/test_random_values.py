"""Values that no two renders share: out of the hash, and the cluster's are kept."""

from __future__ import annotations

import base64
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from workers.render.random_values import kept, without

SECRET: dict[str, Any] = {
    "kind": "Secret",
    "metadata": {"name": "login"},
    "stringData": {"user": "shop", "password": "new"},
}


def test_what_is_random_is_no_part_of_what_is_compared() -> None:
    assert without(SECRET, [("stringData", "password")])["stringData"] == {"user": "shop"}
    assert SECRET["stringData"]["password"] == "new", "the body itself is as it was"


def test_the_clusters_value_is_kept() -> None:
    live = {"data": {"password": base64.b64encode(b"old").decode()}}
    assert kept(SECRET, live, [("stringData", "password")])["stringData"] == {"user": "shop", "password": "old"}


def test_a_value_that_the_cluster_does_not_have_is_the_new_one() -> None:
    assert kept(SECRET, {"data": {}}, [("stringData", "password")]) == SECRET


def test_a_value_in_a_list_is_found_by_its_place() -> None:
    body = {"spec": {"items": [{"v": 1}, {"v": 2}]}}
    assert kept(body, {"spec": {"items": [{}, {"v": 9}]}}, [("spec", "items", 1, "v")]) == {
        "spec": {"items": [{"v": 1}, {"v": 9}]}
    }


@given(
    st.recursive(st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner)),
    st.lists(st.text() | st.integers(0, 3), min_size=1, max_size=4),
)
def test_a_path_that_leads_nowhere_changes_nothing(value: Any, path: list[str | int]) -> None:
    body = {"spec": value}
    assert kept(body, {}, [("spec", *path)]) == body
