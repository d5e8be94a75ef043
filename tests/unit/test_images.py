"""A reference comes apart and together again, and only references do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.images import parse_image, valid_digest, valid_tag

DIGEST = "sha256:" + "0123456789abcdef" * 4

parts = st.from_regex(r"[a-z0-9]{1,8}([._-][a-z0-9]{1,5})?", fullmatch=True)
hosts = st.sampled_from(["", "docker.io/", "registry.example/", "localhost:5000/", "r.example:8443/"])
names = st.builds(lambda host, path: host + "/".join(path), hosts, st.lists(parts, min_size=1, max_size=3))
tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)


@given(names, st.just("") | tags, st.sampled_from(["", DIGEST]))
def test_a_reference_comes_apart_and_together(name: str, tag: str, digest: str) -> None:
    text = name + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    found = parse_image(text)
    assert found is not None
    assert (found.written, found.tag, found.digest) == (name, tag, digest)
    assert str(found) == text


@given(names, tags, tags)
def test_another_tag_is_another_reference_of_the_same_image(name: str, tag: str, other: str) -> None:
    one = parse_image(f"{name}:{tag}")
    assert one is not None
    assert parse_image(str(one._replace(tag=other))) == one._replace(tag=other)


@given(st.text(max_size=60))
def test_whatever_is_read_as_a_reference_is_written_as_it_was(text: str) -> None:
    found = parse_image(text)
    assert found is None or str(found) == text


@pytest.mark.parametrize(
    "text", ["", ":1", "@" + DIGEST, "a b", "a:1:2", "a:b c", "a@sha256:00", "A/b:1", "a:\n", "{{ x }}"]
)
def test_what_is_no_reference(text: str) -> None:
    assert parse_image(text) is None


def test_tags_and_digests() -> None:
    assert valid_tag("1.0_a-B")
    assert valid_digest(DIGEST)
    assert not any(map(valid_tag, ["", ".1", "-1", "a b", "1\n", "a" * 129, "ä"]))
    assert not any(map(valid_digest, ["", "sha256:", DIGEST + "\n", DIGEST.upper(), "md5:" + "0" * 32]))
