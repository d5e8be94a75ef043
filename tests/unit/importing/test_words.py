"""The small languages of an import: Helm's parameters, jq's paths, images."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.importing import jq
from windlass.importing.convert import dump
from windlass.importing.helm_values import ParameterError, assign, steps
from windlass.importing.overlays import image_of
from windlass.yamls import load_all


@pytest.mark.parametrize(
    ("expression", "pointer"),
    [
        (".spec.replicas", "/spec/replicas"),
        ('.metadata.annotations["a/b~c"]', "/metadata/annotations/a~1b~0c"),
        ('.data."tls.crt"', "/data/tls.crt"),
        (".spec.template.spec.containers[0].image", "/spec/template/spec/containers/0/image"),
        (".spec.template.spec.containers[].resources", "/spec/template/spec/containers/*/resources"),
        ('.spec.containers[] | select(.name == "web") | .image', "/spec/containers/[name=web]/image"),
        (".webhooks[]?.clientConfig.caBundle", "/webhooks/*/clientConfig/caBundle"),
        (".", None),
        ("", None),
        (".spec | keys", None),
        ('.spec.containers[] | select(.name | test("a"))', None),
        ("del(.spec)", None),
        (".a, .b", None),
    ],
)
def test_paths_of_jq_are_pointers_and_programs_are_none(expression: str, pointer: str | None) -> None:
    assert jq.pointer(expression) == pointer


printable = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20)
WORDS = ["y", "n", "No", "on", "~", "null", "1_000", "0o7", "1e3", ".5", "2026-01-01"]
texts = printable | st.sampled_from([*WORDS, "a\nb", "a: b", " "])


@given(st.dictionaries(texts, st.lists(texts, max_size=3), max_size=3))
def test_what_is_written_is_read_as_the_same(content: dict[str, list[str]]) -> None:
    (read,) = load_all(dump([{"content": content}]))
    assert read.value == {"content": content}


@given(st.text(max_size=40))
def test_any_text_is_a_pointer_or_none(text: str) -> None:
    pointer = jq.pointer(text)
    assert pointer is None or pointer.startswith("/")


@pytest.mark.parametrize(
    ("parameters", "values"),
    [
        ([("a.b", "1")], {"a": {"b": 1}}),
        ([("a.b", "1"), ("a.c", "x")], {"a": {"b": 1, "c": "x"}}),
        ([(r"a\.b.c", "true")], {"a.b": {"c": True}}),
        ([("a[1].b", "x")], {"a": [None, {"b": "x"}]}),
        ([("a[0][1]", "x")], {"a": [[None, "x"]]}),
        ([("a", "{x,1,true}")], {"a": ["x", 1, True]}),
        ([("a", "{}")], {"a": [""]}),
        ([("a", "[]")], {"a": "[]"}),
        ([("a", "x,y=z")], {"a": "x,y=z"}),
        ([("a", "null")], {"a": None}),
        ([("a", "007")], {"a": "007"}),
        ([("a", "1.5")], {"a": "1.5"}),
        ([("a", "x"), ("a.b", "y")], {"a": {"b": "y"}}),
    ],
)
def test_parameters_are_what_helm_makes_of_them(parameters: list[tuple[str, str]], values: dict[str, Any]) -> None:
    made: dict[str, Any] = {}
    for name, text in parameters:
        assign(made, name, text, as_text=False, files=False)
    assert made == values


def test_a_parameter_that_is_a_text_stays_one() -> None:
    made: dict[str, Any] = {}
    assign(made, "a", "true", as_text=True, files=False)
    assert made == {"a": "true"}


def test_an_item_of_a_list_in_a_values_file_is_not_guessed() -> None:
    with pytest.raises(ParameterError, match="whole list"):
        assign({}, "a[0]", "x", as_text=False, files=True)
    made: dict[str, Any] = {"a": ["x", "y"]}
    assign(made, "a[1]", "z", as_text=False, files=True)
    assert made == {"a": ["x", "z"]}


@pytest.mark.parametrize("name", ["", ".", "a..b", "[0]", "a.", "a[99999]", "a[0]b"])
def test_what_is_no_name_of_a_parameter(name: str) -> None:
    with pytest.raises(ParameterError):
        assign({}, name, "x", as_text=False, files=False)


@given(
    st.lists(
        st.text(st.characters(exclude_characters="\\[", codec="utf-8"), min_size=1, max_size=8), min_size=1, max_size=4
    )
)
def test_names_come_apart_as_they_were_put_together(words: list[str]) -> None:
    assert steps(".".join(word.replace(".", "\\.") for word in words)) == words


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("nginx:1.25", ("nginx", None, "1.25", None)),
        ("nginx=registry.example.com/nginx:1.25", ("nginx", "registry.example.com/nginx", "1.25", None)),
        ("registry.example.com:5000/a/b:1", ("registry.example.com:5000/a/b", None, "1", None)),
        ("nginx=nginx:2", ("nginx", None, "2", None)),
        (f"nginx@sha256:{'a' * 64}", ("nginx", None, None, f"sha256:{'a' * 64}")),
        (f"nginx:1@sha256:{'a' * 64}", ("nginx", None, "1", f"sha256:{'a' * 64}")),
        ("nginx", ("nginx", None, None, None)),
    ],
)
def test_an_image_as_kustomize_sets_it(text: str, made: tuple[str | None, ...]) -> None:
    image = image_of(text)
    assert image is not None
    assert (image.name, image.new_name, image.new_tag, image.digest) == made
