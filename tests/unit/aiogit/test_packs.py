"""The pack reader against packs built from the format's description; those that git itself builds are in the
integration tests."""

import contextlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.aiogit import packing
from workers.aiogit.errors import CorruptPackError, IncompleteError
from workers.aiogit.packs import BLOB, COMMIT, TREE, OverBudgetError, PackObject, read_pack

OFS_DELTA, REF_DELTA = 6, 7


def read(pack, *, store=None, max_inflated=1 << 20):
    return read_pack(pack, (store or {}).get, max_inflated=max_inflated)


@given(st.lists(st.tuples(st.sampled_from([COMMIT, TREE, BLOB]), st.binary(max_size=2000)), max_size=8))
def test_whole_objects_are_found_by_their_own_ids(objects):
    names = {COMMIT: "commit", TREE: "tree", BLOB: "blob"}
    pack = packing.pack(*(packing.entry(kind, data) for kind, data in objects))
    assert read(pack) == {packing.oid(names[kind], data): PackObject(kind, data) for kind, data in objects}


def test_a_delta_by_offset_builds_on_the_entry_before():
    base = packing.entry(BLOB, b"hello world")
    delta = packing.delta(11, 9, packing.copy(0, 6), packing.insert(b"you"))
    pack = packing.pack(base, packing.entry(OFS_DELTA, delta, base=packing.distance(len(base))))
    assert read(pack)[packing.oid("blob", b"hello you")] == PackObject(BLOB, b"hello you")


def test_a_delta_by_offset_reaches_over_more_than_127_bytes():
    base, between = packing.entry(BLOB, b"hello world"), packing.entry(BLOB, os.urandom(20_000))
    delta = packing.entry(
        OFS_DELTA, packing.delta(11, 5, packing.copy(0, 5)), base=packing.distance(len(base + between))
    )
    assert packing.oid("blob", b"hello") in read(packing.pack(base, between, delta))


def test_a_delta_by_id_may_come_before_its_base():
    delta = packing.entry(REF_DELTA, packing.delta(11, 5, packing.copy(0, 5)), base=packing.oid("blob", b"hello world"))
    assert packing.oid("blob", b"hello") in read(packing.pack(delta, packing.entry(BLOB, b"hello world")))


def test_a_thin_pack_builds_on_what_the_store_has():
    base = packing.oid("blob", b"hello world")
    pack = packing.pack(packing.entry(REF_DELTA, packing.delta(11, 5, packing.copy(0, 5)), base=base))
    assert list(read(pack, store={base: PackObject(BLOB, b"hello world")})) == [packing.oid("blob", b"hello")]
    with pytest.raises(IncompleteError):
        read(pack)


def test_a_chain_of_deltas_is_followed():
    data, entries = b"0123456789", [packing.entry(BLOB, b"0123456789")]
    for number in range(50):
        delta = packing.delta(
            len(data), len(data) + 1, packing.copy(0, len(data)), packing.insert(b"%d" % (number % 10))
        )
        entries.append(packing.entry(OFS_DELTA, delta, base=packing.distance(len(entries[-1]))))
        data += b"%d" % (number % 10)
    assert packing.oid("blob", data) in read(packing.pack(*entries))


def test_bytes_after_the_last_entry_or_a_wrong_count_are_refused():
    one = packing.entry(BLOB, b"hello")
    for pack in (packing.pack(one + b"more"), packing.pack(one, count=2), packing.pack(one, one, count=1)):
        with pytest.raises(CorruptPackError):
            read(pack)


def test_an_object_of_another_size_than_declared_is_refused():
    for size in (4, 6):
        with pytest.raises(CorruptPackError):
            read(packing.pack(packing.entry(BLOB, b"hello", size=size)))


def test_a_zlib_bomb_stops_at_the_size_it_declares():
    with pytest.raises(CorruptPackError):
        read(packing.pack(packing.entry(BLOB, bytes(50 << 20), size=10)))


def test_a_pack_that_inflates_over_the_budget_is_put_aside():
    with pytest.raises(OverBudgetError):
        read(packing.pack(packing.entry(BLOB, bytes(2 << 20))))


def test_a_delta_bomb_is_put_aside_before_anything_is_allocated():
    """A few bytes that declare, and would make, gigabytes: each copy doubles what is there."""
    entries, size = [packing.entry(BLOB, bytes(1 << 16))], 1 << 16
    for _ in range(30):
        delta = packing.delta(size, size * 2, packing.copy(0, size), packing.copy(0, size))
        if size >= 1 << 24:
            break
        entries.append(packing.entry(OFS_DELTA, delta, base=packing.distance(len(entries[-1]))))
        size *= 2
    with pytest.raises(OverBudgetError):
        read(packing.pack(*entries))


def test_a_flipped_bit_anywhere_is_refused():
    pack = packing.pack(packing.entry(BLOB, b"hello"), packing.entry(BLOB, b"world"))
    for position in range(len(pack)):
        broken = pack[:position] + bytes([pack[position] ^ 1]) + pack[position + 1 :]
        with pytest.raises(CorruptPackError):
            read(broken)


@given(st.binary(max_size=200))
def test_no_bytes_crash_it(body):
    with contextlib.suppress(CorruptPackError, IncompleteError, OverBudgetError):
        read(packing.pack(body, count=body[0] if body else 0))
