"""What holds for any document and any bytes."""

from __future__ import annotations

import json
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from windlass.yamls import Limits, YamlError, load_all
from workers.render.plain import ManifestError, parse_file

texts = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\u2028\u2029\ufeff\ufffe\uffff"))
keys = texts.filter(lambda text: len(text) < 200)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | texts
)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=20
)
LIMITS = Limits(size=4000, documents=20, depth=20, nodes=300, values=500)
SPACED = "a|b: |- |? |: |  |[|]|{|}|,|&x |*x|<<: |'|\"|\\u|!!int |!!binary |!t |0644|1e3|yes|~|\t|é|# c\n"
tokens = st.sampled_from([*SPACED.split("|"), "|\n", ">-\n", "\n", "\r\n", "---\n", "...\n", "%YAML 1.1\n"])


def read(data: bytes) -> list[Any]:
    return [parsed.value for parsed in load_all(data)]


@given(trees)
def test_json_means_the_same_as_yaml(value: Any) -> None:
    """Numbers that are whole are integers, as Go's JSON encoder has them; that is equal in Python."""
    assert read(json.dumps([value]).encode()) == [[value]]
    assert read(json.dumps([value], ensure_ascii=False, indent=1).encode()) == [[value]]


@given(st.dictionaries(keys, texts, max_size=5))
def test_text_that_is_quoted_stays_text(value: dict[str, str]) -> None:
    """PyYAML's dumper quotes less than Go's reader needs, so every scalar is quoted here."""
    data = yaml.dump(value, Dumper=yaml.CSafeDumper, default_style='"', allow_unicode=True, width=1 << 30)
    assert read(data.encode()) == [value]


@given(texts, st.integers(1, 6))
def test_text_in_a_block_stays_text(text: str, indent: int) -> None:
    block = "a: |+\n" + "".join(" " * indent + "x" + line + "\n" for line in text.split("\n"))
    assert read(block.encode()) == [{"a": "".join(f"x{line}\n" for line in text.split("\n"))}]


@given(st.binary(max_size=200) | st.lists(tokens, max_size=60).map(lambda parts: "".join(parts).encode()))
@example(b"&a [*a]")
@example(b"\xff\xfe\x00")
@example(b"a: !!float 1e999")
@example("!!binary \xa0".encode())
@settings(max_examples=400)
def test_any_bytes_are_documents_or_an_error_with_a_line(data: bytes) -> None:
    lines = data.count(b"\n") + data.count(b"\r") + 2
    try:
        for parsed in load_all(data, limits=LIMITS):
            json.dumps(parsed.value, allow_nan=False)
            assert 1 <= parsed.line <= lines
    except YamlError as error:
        line, message = error.line, error.message
    else:
        return
    assert 1 <= line <= lines
    assert message
    assert "\n" not in message


@given(st.binary(max_size=200) | trees.map(lambda value: json.dumps(value).encode()))
def test_any_file_is_manifests_or_an_error_with_file_and_line(data: bytes) -> None:
    try:
        manifests = parse_file(data, "some/file.yaml")
    except ManifestError as error:
        text, line = str(error), error.line
    else:
        assert all(manifest.name and manifest.kind for manifest in manifests)
        return
    assert text.startswith(f"some/file.yaml:{line}: ")
