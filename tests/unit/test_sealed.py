"""What is sealed opens only whole, unchanged, as what it is, and with its key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.sealed import SealError, SealingKeys

OLD, NEW = b"an old key of at least 32 characters", b"a new key, of no fewer characters than it"
WHAT = b"set\0shop\0production\0abc"


@given(st.binary(max_size=2000))
def test_it_opens_as_what_was_sealed(plain: bytes) -> None:
    keys = SealingKeys([OLD])
    assert keys.open(keys.seal(plain, WHAT), WHAT) == plain


@given(st.data())
def test_no_bit_can_be_changed_and_nothing_cut_or_added(data: st.DataObject) -> None:
    keys = SealingKeys([OLD])
    sealed = keys.seal(b"what was healthy", WHAT)
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    flipped = bytearray(sealed)
    flipped[bit // 8] ^= 1 << bit % 8
    cut = sealed[: data.draw(st.integers(0, len(sealed) - 1))]
    for changed in (bytes(flipped), cut, sealed + b"\0"):
        with pytest.raises(SealError):
            keys.open(changed, WHAT)


@pytest.mark.parametrize("other", [b"set\0blog\0production\0abc", b"set\0shop\0production\0abd", b"", b"healthy\0shop"])
def test_it_is_nothing_but_what_it_was_sealed_as(other: bytes) -> None:
    keys = SealingKeys([OLD])
    with pytest.raises(SealError, match="another"):
        keys.open(keys.seal(b"x", WHAT), other)


def test_a_new_key_seals_and_the_old_one_still_opens() -> None:
    before = SealingKeys([OLD]).seal(b"x", WHAT)
    both = SealingKeys([NEW, OLD])
    assert both.open(before, WHAT) == b"x"
    with pytest.raises(SealError, match="not among"):
        SealingKeys([OLD]).open(both.seal(b"x", WHAT), WHAT)


def test_the_same_thing_sealed_twice_does_not_look_the_same() -> None:
    keys = SealingKeys([OLD])
    assert keys.seal(b"x", WHAT) != keys.seal(b"x", WHAT)
    assert b"visible" not in keys.seal(b"visible", WHAT)
