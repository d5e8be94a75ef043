"""Hostile documents are refused at their budget: promptly, before the memory is spent, with a line."""

from __future__ import annotations

import time

import pytest

from windlass.yamls import Limits, YamlError, load_all


def refused(data: bytes, limits: Limits = Limits()) -> YamlError:  # noqa: B008 - immutable
    started = time.process_time()
    with pytest.raises(YamlError) as caught:
        for _ in load_all(data, limits=limits):
            pass
    assert time.process_time() - started < 10
    return caught.value


def bomb(levels: int, width: int = 9) -> bytes:
    lines = [b"a0: &a0 [" + b",".join([b"lol"] * width) + b"]"]
    for level in range(1, levels):
        lines.append(b"a%d: &a%d [" % (level, level) + b",".join([b"*a%d" % (level - 1)] * width) + b"]")
    return b"\n".join(lines)


def test_an_alias_bomb() -> None:
    assert "aliases included" in refused(bomb(9)).message


def test_an_alias_bomb_of_merges() -> None:
    lines = [b"a0: &a0 {x: 1}"]
    for level in range(1, 30):
        lines.append(b"a%d: &a%d {p: *a%d, q: *a%d}" % (level, level, level - 1, level - 1))
    lines.append(b"z: {<<: *a29}")
    assert "aliases included" in refused(b"\n".join(lines), Limits(values=100_000)).message


def test_an_alias_bomb_of_text_is_paid_for_by_the_character() -> None:
    data = b"a: &a " + b"x" * 100_000 + b"\nb: [" + b",".join([b"*a"] * 1000) + b"]"
    assert "characters" in refused(data).message


def test_small_bombs_in_many_documents_share_one_budget() -> None:
    one = bomb(5)
    assert "aliases included" in refused(b"\n---\n".join([one] * 100)).message


@pytest.mark.parametrize("opening", [b"[", b"{a: ", b"- ", b"? ", b"!x [", b"[{a: "])
def test_nesting(opening: bytes) -> None:
    assert "nested deeper than 200" in refused(opening * 5000).message


def test_nesting_by_aliases_counts_too() -> None:
    half = b"[" * 150 + b"]" * 150
    data = b"a: &a " + half + b"\nb: " + b"[" * 150 + b"*a" + b"]" * 150
    assert "nested deeper" in refused(data).message


@pytest.mark.parametrize("data", [b"&a [*a]", b"a: &a {b: *a}", b"&a [*a, *a]"])
def test_an_anchor_within_itself(data: bytes) -> None:
    assert "nested deeper" in refused(data).message


def test_a_million_documents() -> None:
    assert "10000 documents" in refused(b"---\na: 1\n" * 1_000_000).message


def test_empty_documents_count() -> None:
    assert "10000 documents" in refused(b"---\n" * 20_000).message


def test_too_many_bytes_are_not_even_looked_at() -> None:
    error = refused(b"\x00" * (Limits().size + 1))
    assert "more than the 10485760 that a file may have" in error.message


@pytest.mark.parametrize("item", [b"x,", b"[],", b"{},", b"k: v,", b"!a x,", b"'',!!str x,"])
def test_a_document_of_small_change_is_refused_before_it_is_composed(item: bytes) -> None:
    error = refused(b"[" + item * 30_000 + b"]", Limits(nodes=20_000))
    assert error.message == "more than 20000 keys and values in a document"


@pytest.mark.parametrize("limit", ["nodes", "values"])
def test_a_budget_is_enough_for_exactly_itself(limit: str) -> None:
    data = b"[a, b, c]"
    limits = {limit: 4}
    assert [p.value for p in load_all(data, limits=Limits(**limits))] == [["a", "b", "c"]]
    limits[limit] = 3
    refused(data, Limits(**limits))


def test_a_document_of_exactly_the_depth() -> None:
    limits = Limits(depth=3)
    assert [p.value for p in load_all(b"[[x]]", limits=limits)] == [[["x"]]]
    refused(b"[[[x]]]", limits)


def test_a_line_tells_where_a_budget_ended() -> None:
    data = b"a: 1\nb:\n  c:\n    - - - x\n"
    assert refused(data, Limits(depth=4)).line == 4
