"""Each namespace's share of what is handed on."""

from __future__ import annotations

from windlass.documents.resources import SHARE, Found, Resource, Terms, read
from workers.resources.collection import Known
from workers.resources.shares import within

HALF = SHARE // 2


def known(name: str, size: int, *, namespace: str = "team-a", day: int = 1, deleting: bool = False) -> Known:
    created = f"2026-11-{day:02}T10:00:00Z"
    resource = Resource("Application", namespace, name, f"uid-{name}", created, 1, {"a": name}, deleting)
    return Known(resource, "1", (), {}, {}, False, size)


def over(*items: Known) -> list[str]:
    return [one.name for one in within(items, "windlass") if one.over]


def test_all_are_handed_on_in_the_order_of_their_names() -> None:
    found = within([known("b", HALF), known("a", HALF, day=2)], "windlass")
    assert [(one.name, one.spec, one.over) for one in found] == [("a", {"a": "a"}, False), ("b", {"a": "b"}, False)]


def test_beyond_a_namespaces_share_the_newest_count_no_more_and_another_namespaces_do() -> None:
    mine = [known("new", 1, day=3), known("old", HALF, day=1), known("big", HALF + 1, day=2)]
    assert over(*mine, known("other", SHARE, namespace="team-b", day=9)) == ["big", "new"]
    assert [one.spec for one in within(mine, "windlass")] == [{}, {}, {"a": "old"}]


def test_what_is_being_deleted_comes_first() -> None:
    assert over(known("old", SHARE, day=1), known("new", 1, day=2, deleting=True)) == ["old"]


def test_windlass_own_namespace_has_no_limit() -> None:
    assert over(*(known(f"a{i}", SHARE, namespace="windlass", day=i) for i in range(1, 4))) == []


def test_the_status_says_why() -> None:
    found: Found = read(within([known("a", SHARE + 1)], "windlass"), Terms("windlass"))
    (error,) = found.errors
    assert (error.file, error.field) == ("Application team-a/a", "spec")
    assert "the resources of team-a want more than 4 MiB together" in str(error)
