"""Images have one spelling, and patterns name exactly those that they mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.registries import Scope, image_name, parse_reference

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("nginx", "docker.io/library/nginx"),
        ("shop/web", "docker.io/shop/web"),
        ("index.docker.io/shop/web", "docker.io/shop/web"),
        ("localhost/web", "localhost/web"),
        ("Registry.Example:5000/shop/web", "registry.example:5000/shop/web"),
        ("registry.example/a/b/c__d.e--f", "registry.example/a/b/c__d.e--f"),
    ],
)
def test_a_name_has_one_spelling(text: str, name: str) -> None:
    assert image_name(text) == name
    assert image_name(name) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "a//b",
        "a/../b",
        "registry.example/",
        "registry.example/Shop",
        "a b",
        "a\n",
        "é",
        "-a/b",
        "a" * 256,
        "user@host/x",
    ],
)
def test_what_is_no_name_has_none(text: str) -> None:
    assert image_name(text) is None


def test_a_reference_has_parts() -> None:
    assert parse_reference(f"registry.example:5000/web:1.0@{DIGEST}") == ("registry.example:5000/web", "1.0", DIGEST)
    assert parse_reference("registry.example:5000/web") == ("registry.example:5000/web", "", "")
    assert parse_reference("web:") is None
    assert parse_reference("web@sha256:1") is None


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("registry.example/shop/web", "registry.example/shop/web", "registry.example/shop/webs"),
        ("registry.example/shop/*", "registry.example/shop/web", "registry.example/shop/web/x"),
        ("registry.example/**", "registry.example/shop/web/x", "registry.example.evil/shop"),
        ("registry.example/shop/web-*", "registry.example/shop/web-api", "registry.example/shop/web"),
        ("*/shop/web", "registry.example/shop/web", "registry.example/x/shop/web"),
    ],
)
def test_a_pattern_means_whole_names(pattern: str, inside: str, outside: str) -> None:
    assert Scope([pattern]).covers(inside)
    assert not Scope([pattern]).covers(outside)
    assert Scope(["other.example/x", pattern]).covers(inside)


@given(st.text(max_size=60))
def test_a_spelling_is_its_own(text: str) -> None:
    name = image_name(text)
    assert name is None or image_name(name) == name
