"""Nothing is missing under a commit that is proved, and what is missing anywhere is found."""

import pytest

from tests.unit.aiogit import packing
from workers.aiogit.errors import IncompleteError
from workers.aiogit.packs import BLOB, COMMIT, TREE, PackObject
from workers.aiogit.proof import Proof, TooLongError


class FakeStore:
    def __init__(self):
        self.objects = {}
        self.whole = set()

    def exists(self, oid):
        return oid in self.objects

    def tree(self, oid):
        return self._read(oid, TREE)

    def commit(self, oid):
        return self._read(oid, COMMIT)

    def _read(self, oid, kind):
        if oid not in self.objects or self.objects[oid].kind != kind:
            raise IncompleteError(oid.hex())
        return self.objects[oid].data


class Objects(dict):
    def add(self, kind, data):
        oid = packing.oid({COMMIT: "commit", TREE: "tree", BLOB: "blob"}[kind], data)
        self[oid] = PackObject(kind, data)
        return oid

    def commit(self, files, *parents, message="change"):
        """A commit of ``files`` (name to content) in a folder ``shop``."""
        inner = packing.tree(*((0o100644, name.encode(), self.add(BLOB, data)) for name, data in sorted(files.items())))
        root = self.add(TREE, packing.tree((0o040000, b"shop", self.add(TREE, inner))))
        return self.add(COMMIT, packing.commit(root, *parents, message=message))


@pytest.fixture
def store():
    return FakeStore()


def prove(store, fresh, tip, **options):
    return Proof(store, fresh, whole=lambda commit: bytes.fromhex(commit) in store.whole, **options).prove(tip.hex())


def test_a_first_commit_with_all_its_objects_is_whole(store):
    fresh = Objects()
    assert prove(store, fresh, fresh.commit({"a": b"1", "b": b"2"})) == 1


def test_every_single_missing_object_is_found(store):
    fresh = Objects()
    tip = fresh.commit({"a": b"1", "b": b"2"}, fresh.commit({"a": b"1"}))
    for oid in list(fresh):
        rest = {other: item for other, item in fresh.items() if other != oid}
        with pytest.raises(IncompleteError):
            prove(store, rest, tip)


def test_only_what_differs_from_a_whole_commit_is_looked_at(store):
    old = Objects()
    base = old.commit({f"file-{number}": b"%d" % number for number in range(500)})
    store.objects, store.whole = dict(old), {base}
    fresh = Objects()
    tip = fresh.commit({f"file-{number}": b"%d" % (number or 7000) for number in range(500)}, base)
    assert prove(store, fresh, tip, steps=10) == 1


def test_a_commit_that_is_there_but_was_never_proved_counts_for_nothing(store):
    """Left by a fetch that failed half way: its objects may be missing."""
    stray = Objects()
    parent = stray.commit({"a": b"1"})
    del stray[packing.oid("blob", b"1")]
    store.objects = dict(stray)
    fresh = Objects()
    with pytest.raises(IncompleteError):
        prove(store, fresh, fresh.commit({"a": b"2"}, parent))


def test_a_revert_to_a_folder_that_the_store_lacks_is_found(store):
    """The server leaves the old folder out, since a have reaches it; a store without its history would lack it."""
    fresh = Objects()
    base = fresh.commit({"a": b"1"})
    store.objects, store.whole = dict(fresh), {base}
    revert = Objects()
    tip = revert.commit({"a": b"0"}, base)
    for oid in [oid for oid, item in revert.items() if item.kind == BLOB]:
        del revert[oid]
    with pytest.raises(IncompleteError):
        prove(store, revert, tip)


def test_both_sides_of_a_merge_are_proved(store):
    fresh = Objects()
    base = fresh.commit({"a": b"1"})
    left, right = fresh.commit({"a": b"2"}, base), fresh.commit({"a": b"3"}, base)
    tip = fresh.commit({"a": b"4"}, left, right)
    assert prove(store, fresh, tip) == 4
    del fresh[packing.oid("blob", b"3")]
    with pytest.raises(IncompleteError):
        prove(store, fresh, tip)


def test_a_submodules_commit_is_not_ours_to_have(store):
    fresh = Objects()
    root = fresh.add(TREE, packing.tree((0o160000, b"module", b"9" * 20)))
    assert prove(store, fresh, fresh.add(COMMIT, packing.commit(root))) == 1


def test_a_tree_that_is_a_blob_is_no_proof(store):
    fresh = Objects()
    blob = fresh.add(BLOB, b"not a tree")
    with pytest.raises(IncompleteError):
        prove(store, fresh, fresh.add(COMMIT, packing.commit(blob)))


def test_folders_within_folders_without_end_cost_only_what_is_there(store):
    """Ten folders a level, all the same one: 10^20 paths, 20 objects."""
    fresh = Objects()
    inner = fresh.add(TREE, packing.tree((0o100644, b"a", fresh.add(BLOB, b"1"))))
    for _ in range(20):
        inner = fresh.add(TREE, packing.tree(*((0o040000, b"%d" % number, inner) for number in range(10))))
    assert prove(store, fresh, fresh.add(COMMIT, packing.commit(inner)), steps=1000) == 1


def test_a_long_proof_says_so(store):
    fresh = Objects()
    tip = fresh.commit({f"file-{number}": b"%d" % number for number in range(50)})
    with pytest.raises(TooLongError):
        prove(store, fresh, tip, steps=20)
