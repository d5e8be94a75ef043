"""What one process leaves in Redis for another: believed if one of us wrote it, and at its place only."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from windlass.queue.seal import Seal

OURS = Seal(b"k" * 32, "image")


@given(st.text(), st.binary())
def test_our_word_is_read_where_it_was_put(place: str, word: bytes) -> None:
    assert OURS.opened(place, OURS.sealed(place, word)) == word


@given(st.binary(max_size=200))
def test_nobody_elses_is(anything: bytes) -> None:
    assert OURS.opened("web", anything) is None


def test_nor_ours_of_another_place_kind_or_key_or_with_a_letter_changed() -> None:
    sealed = OURS.sealed("web", b"1.4.2")
    assert OURS.opened("production", sealed) is None
    assert Seal(b"k" * 32, "promotion").opened("web", sealed) is None
    assert Seal(b"x" * 32, "image").opened("web", sealed) is None
    assert OURS.opened("web", sealed.replace(b"1.4.2", b"6.6.6")) is None
