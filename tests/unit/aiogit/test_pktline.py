"""Frames of Git's protocol survive any cut of the stream, and a wrong length is an error, never a wait."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.aiogit.errors import ProtocolError
from workers.aiogit.pktline import FrameReader, Mark, encode, encode_all

frames = st.lists(st.one_of(st.binary(min_size=0, max_size=300), st.sampled_from(Mark)), max_size=20)


@given(frames, st.data())
def test_what_is_written_is_read_however_the_stream_is_cut(written, data):
    stream = encode_all(written)
    reader, read, position = FrameReader(), [], 0
    while position < len(stream):
        size = data.draw(st.integers(1, len(stream) - position))
        read += reader.feed(stream[position : position + size])
        position += size
    assert read == written
    assert reader.clean


def test_a_frame_is_given_only_when_it_is_whole():
    reader = FrameReader()
    assert reader.feed(b"0009") == []
    assert not reader.clean
    assert reader.feed(b"hello") == [b"hello"]
    assert reader.clean


@pytest.mark.parametrize(
    "header", [b"0003", b"zzzz", b" 00a", b"-001", b"+00a", b"0x0a", b"1_00", b"fff5", b"\xff\xff\xff\xff", b"PACK"]
)
def test_a_length_that_is_none_is_refused(header):
    with pytest.raises(ProtocolError):
        FrameReader().feed(header + b"x" * 10)


def test_the_longest_frame_fits_and_one_byte_more_does_not():
    assert FrameReader().feed(encode(b"x" * 65516)) == [b"x" * 65516]
    with pytest.raises(ValueError, match="pkt-line"):
        encode(b"x" * 65517)


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader(data):
    with contextlib.suppress(ProtocolError):
        FrameReader().feed(data)
