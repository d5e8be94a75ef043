"""What a renderer printed, as manifests; and what differs between two renders."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.render.cache import ByteCache
from workers.render.commit_tree import RenderError
from workers.render.rendered import RenderedReader, differing, documents


def config(name: str, value: str = "1") -> bytes:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{a: '{value}'}}\n".encode()


async def test_only_what_changed_is_parsed_again() -> None:
    reader = RenderedReader()
    before = await reader.manifests(b"---\n".join([config("a"), config("b")]), lambda _: "k.yaml")
    after = await reader.manifests(b"---\n".join([config("a"), config("b", "2")]), lambda _: "k.yaml")
    assert after[0].body is before[0].body
    assert after[1].body["data"] == {"a": "2"}
    assert {(manifest.file, manifest.line) for manifest in after} == {("k.yaml", 0)}


async def test_what_is_no_manifest_is_told_with_its_file() -> None:
    with pytest.raises(RenderError, match=r"^k\.yaml: what is rendered is no manifest: kind: expected text"):
        await RenderedReader().manifests(b"apiVersion: v1\n", lambda _: "k.yaml")


def test_documents_are_split_at_lines_of_three_hyphens_only() -> None:
    output = b"---\na: |\n  ---\n  x\n--- \nb: '---'\n---\n\n---\r\nc: 1\n"
    assert list(documents(output)) == [b"a: |\n  ---\n  x\n", b"b: '---'\n", b"c: 1\n"]


@pytest.mark.parametrize(
    ("one", "other", "paths"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1, "b": {"c": 1}}, {"a": 1, "b": {"c": 2}}, [("b", "c")]),
        ({"a": [1, 2]}, {"a": [1, 3]}, [("a", 1)]),
        ({"a": [1]}, {"a": [1, 2]}, [("a",)]),
        ({"a": 1}, {"b": 1}, [("a",), ("b",)]),
        ({"a": 1}, {"a": True}, [("a",)]),
        ({"a": "1"}, {"a": {"b": 1}}, [("a",)]),
    ],
)
def test_what_differs(one: Any, other: Any, paths: list[Any]) -> None:
    assert list(differing(one, other)) == paths


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60)), max_size=40))
def test_a_cache_never_exceeds_its_budget(puts: list[tuple[int, int]]) -> None:
    cache: ByteCache[int, int] = ByteCache(100)
    kept: dict[int, int] = {}
    for key, size in puts:
        cache.put(key, size, size)
        kept[key] = size
        assert cache.size <= 100
        assert cache.get(key) == (size if size <= 50 else None)
    assert cache.size == sum(size for key, size in kept.items() if cache.get(key) == size)


def test_what_was_used_last_goes_last() -> None:
    cache: ByteCache[str, int] = ByteCache(100)
    for name in ("a", "b"):
        cache.put(name, 1, 40)
    cache.get("a")
    cache.put("c", 1, 40)
    assert [name for name in ("a", "b", "c") if cache.get(name)] == ["a", "c"]
