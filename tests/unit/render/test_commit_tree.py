"""A commit as renderers see it: what is plain is read, what leads elsewhere is refused by name (threats B1, B2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.render.memory import LINK, SUBMODULE, Objects, commit
from workers.render.commit_tree import MAX_DEPTH, RenderError, join


def test_files_and_folders_by_path() -> None:
    tree = commit({"a.yaml": "1", "base/b.yaml": "2", "base/deep/c.yaml": "3"})
    assert tree.is_file("a.yaml")
    assert tree.is_folder("base")
    assert tree.is_folder("")
    assert tree.read("base/deep/c.yaml") == b"3"
    assert sorted(path for path, _ in tree.files("base")) == ["base/b.yaml", "base/deep/c.yaml"]
    assert tree.names("base") == ["b.yaml", "deep"]


@pytest.mark.parametrize("path", ["b", "a.yaml/b", "base/b", "base/b.yaml/c"])
def test_what_is_not_there_is_none_and_has_no_id(path: str) -> None:
    tree = commit({"a.yaml": "1", "base/b.yaml": "2"})
    assert tree.node(path) is None
    assert tree.oid(path) == ""
    with pytest.raises(RenderError, match="no such file"):
        tree.read(path)


@pytest.mark.parametrize("kind", [LINK, SUBMODULE])
def test_links_and_submodules_are_refused_where_they_stand_and_on_the_way(kind: str) -> None:
    tree = commit({"base/out": (kind, "/proc/self/environ"), "base/a.yaml": "1"})
    for path in ("base/out", "base/out/passwd"):
        with pytest.raises(RenderError, match=r"^base/out: is a (symbolic link|submodule)$"):
            tree.node(path)
    with pytest.raises(RenderError, match=r"^base/out: "):
        list(tree.files("base"))
    assert tree.oid("base/out") == ""


def test_a_folder_as_deep_as_none_is_ends_in_an_error() -> None:
    deep = "/".join(["d"] * (MAX_DEPTH + 3))
    with pytest.raises(RenderError, match="nested"):
        list(commit({f"{deep}/a.yaml": "1"}).files(""))


def test_an_unchanged_folder_keeps_its_id_across_commits() -> None:
    objects = Objects()
    one = objects.commit({"base/a.yaml": "1", "other.yaml": "1"})
    two = objects.commit({"base/a.yaml": "1", "other.yaml": "2"})
    assert one.oid("base") == two.oid("base")
    assert one.oid("") != two.oid("")


@pytest.mark.parametrize(
    ("folder", "path", "leads"),
    [
        ("overlay/prod", "../../base", "base"),
        ("overlay/prod", "./a.yaml", "overlay/prod/a.yaml"),
        ("", "a.yaml", "a.yaml"),
        ("a", "..", ""),
        ("a", "/b/c", "b/c"),
        ("a", "../..", None),
        ("", "..", None),
        ("a", "../../etc/passwd", None),
        ("a", "b/../../../x", None),
    ],
)
def test_where_a_path_leads(folder: str, path: str, leads: str | None) -> None:
    assert join(folder, path) == leads


@given(st.lists(st.sampled_from(["..", ".", "", "a", "b"]), max_size=12), st.sampled_from(["", "x", "x/y"]))
def test_no_path_leads_out(steps: list[str], folder: str) -> None:
    found = join(folder, "/".join(steps))
    assert found is None or not any(step in ("", ".", "..") for step in found.split("/") if found)
