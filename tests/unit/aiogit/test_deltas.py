"""A delta gives exactly what its instructions say, or an error; never more memory than it declares."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.aiogit import packing
from workers.aiogit.deltas import apply_delta
from workers.aiogit.errors import CorruptPackError


@st.composite
def base_and_delta(draw):
    base = draw(st.binary(min_size=1, max_size=500))
    result, instructions = b"", []
    for _ in range(draw(st.integers(0, 12))):
        if draw(st.booleans()):
            offset = draw(st.integers(0, len(base) - 1))
            size = draw(st.integers(1, len(base) - offset))
            instructions.append(packing.copy(offset, size))
            result += base[offset : offset + size]
        else:
            data = draw(st.binary(min_size=1, max_size=127))
            instructions.append(packing.insert(data))
            result += data
    return base, packing.delta(len(base), len(result), *instructions), result


@given(base_and_delta())
def test_copies_and_inserts_make_the_result(case):
    base, delta, result = case
    assert apply_delta(base, delta) == result


def test_a_copy_without_a_size_is_64_kib():
    base = bytes(range(256)) * 300
    assert apply_delta(base, packing.delta(len(base), 0x10000, packing.copy(7, 0x10000))) == base[7 : 7 + 0x10000]


@pytest.mark.parametrize(
    ("delta", "what"),
    [
        (packing.delta(9, 1, packing.copy(0, 1)), "the base is another"),
        (packing.delta(10, 5, packing.copy(8, 5)), "copies from beyond the base"),
        (packing.delta(10, 3, packing.copy(0, 5)), "makes more than declared"),
        (packing.delta(10, 9, packing.copy(0, 5)), "makes less than declared"),
        (packing.delta(10, 1 << 40, packing.copy(0, 5)), "declares a terabyte"),
        (packing.delta(10, 5, b"\x00"), "an unknown instruction"),
        (packing.delta(10, 5, b"\x05ab"), "an insert that is cut"),
        (packing.delta(10, 5, b"\x81"), "a copy that is cut"),
        (b"", "no sizes"),
        (b"\xff" * 20, "an endless size"),
    ],
)
def test_a_delta_that_contradicts_itself_is_refused(delta, what):
    with pytest.raises(CorruptPackError):
        apply_delta(b"0123456789", delta)


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_no_bytes_crash_it(base, delta):
    with contextlib.suppress(CorruptPackError):
        apply_delta(base, delta)
