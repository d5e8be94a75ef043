"""Comparing two trees: the short way finds what looking at every entry would find."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.aiogit import packing
from workers.aiogit.errors import CorruptPackError
from workers.aiogit.lookups import OFTEN, Lookups
from workers.aiogit.trees import Entry, differences, entries, lookup, readable, refusal

names = st.binary(min_size=1, max_size=6).filter(lambda name: b"\0" not in name and b"/" not in name)
ids = st.binary(min_size=20, max_size=20)
modes = st.sampled_from([0o100644, 0o100755, 0o040000, 0o120000, 0o160000])
trees = st.dictionaries(names, st.tuples(modes, ids), max_size=12)


def raw(tree):
    return packing.tree(*((mode, name, target) for name, (mode, target) in sorted(tree.items())))


@given(trees, trees)
def test_the_differences_are_those_of_the_entries(old, new):
    expected = {name: (old.get(name), new.get(name)) for name in {*old, *new} if old.get(name) != new.get(name)}
    found = list(differences(raw(old), raw(new)))
    assert {item.name: (value(item.old), value(item.new)) for item in found} == expected
    assert len(found) == len(expected)


@given(trees, st.data())
def test_a_few_changes_in_a_tree_are_found(old, data):
    new = dict(old)
    for name in data.draw(st.lists(st.sampled_from(sorted(old)), max_size=3)) if old else ():
        new[name] = (data.draw(modes), data.draw(ids))
    found = {item.name for item in differences(raw(old), raw(new))}
    assert found == {name for name in old if old[name] != new[name]}


@given(trees)
def test_every_name_is_looked_up_and_no_other(tree):
    for name, expected in tree.items():
        assert value(lookup(raw(tree), name)) == expected
    assert lookup(raw(tree), b"not there") is None


@given(trees)
def test_a_folder_that_is_asked_often_answers_as_before(tree):
    data, read = raw(tree), []
    lookups = Lookups(lambda oid: read.append(oid) or data)
    for _ in range(2 * OFTEN):
        for name in [*tree, b"not there"]:
            assert lookups.entry(b"id", name) == lookup(data, name)
    assert len(read) == OFTEN + 1


def test_an_id_that_looks_like_a_name_is_not_taken_for_one():
    trap = b"aaa100644 x\0bbbbbbbb"
    tree = packing.tree((0o100644, b"a", trap), (0o100644, b"x", b"1" * 20))
    found = lookup(tree, b"x")
    assert found is not None
    assert found.oid == b"1" * 20
    assert lookup(packing.tree((0o100644, b"a", trap)), b"x") is None


def test_a_name_that_occurs_twice_is_marked():
    new = packing.tree((0o100644, b"a", b"1" * 20), (0o100644, b"a", b"2" * 20))
    assert [item.duplicate for item in differences(b"", new)] == [True]


@pytest.mark.parametrize("tree", [b"x", b"100644 a\0short", b"100644 \0" + b"1" * 20, b"9 a\0" + b"1" * 20])
def test_what_is_no_tree_is_refused(tree):
    with pytest.raises(CorruptPackError):
        list(entries(tree))
    with pytest.raises(CorruptPackError):
        differences(packing.tree((0o100644, b"a", b"1" * 20)), tree)


@pytest.mark.parametrize(
    ("mode", "name", "reason"),
    [
        (0o100644, b"shop.yaml", ""),
        (0o100755, "käse.yaml".encode(), ""),
        (0o040000, b"shop", ""),
        (0o120000, b"link", "symbolic link"),
        (0o160000, b"module", "submodule"),
        (0o100600, b"odd", "mode"),
        (0o100644, b"\xff.yaml", "UTF-8"),
        (0o100644, b"..", "no file may have"),
        (0o040000, b".git", "no file may have"),
        (0o040000, b".GIT", "no file may have"),
        (0o100644, b"a\nb", "no file may have"),
        (0o100644, b"a/b", "no file may have"),
        (0o100644, b"a\\b", "no file may have"),
    ],
)
def test_only_plain_files_and_folders_with_sane_names_are_read(mode, name, reason):
    found = refusal(Entry(mode, name, b"1" * 20))
    assert reason in found
    assert bool(found) == bool(reason)


def test_an_unsafe_name_is_shown_escaped():
    assert readable(b"a\x1b[31m\xff") == "a\\x1b[31m\\xff"


def value(entry):
    return None if entry is None else (entry.mode, entry.oid)
