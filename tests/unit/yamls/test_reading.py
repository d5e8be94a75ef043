"""Documents of a file, their lines, and errors that say where without saying what."""

from __future__ import annotations

import codecs

import pytest

from windlass.yamls import YamlError, load_all

TEXT = b"""\
# a comment
---
a: 1

b:
  c:
  - x
  - k: 1
    "z": 2
---
# nothing here
---
{"d": [
  1,
  {"e": 2}]}
"""


def values(data: bytes) -> list[object]:
    return [parsed.value for parsed in load_all(data)]


def error_of(data: bytes) -> YamlError:
    with pytest.raises(YamlError) as caught:
        list(load_all(data))
    return caught.value


def test_every_document_that_is_not_empty() -> None:
    assert values(TEXT) == [{"a": 1, "b": {"c": ["x", {"k": 1, "z": 2}]}}, {"d": [1, {"e": 2}]}]


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"# only a comment", b"---\n---\n", b"--- # x\n...\n", b"~", b"\xef\xbb\xbf"]
)
def test_files_of_nothing(data: bytes) -> None:
    assert values(data) == []


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_any_newline(newline: bytes) -> None:
    data = b"a: |\n  x\n  y\nb: >-\n  p\n  q\n".replace(b"\n", newline)
    assert values(data) == [{"a": "x\ny\n", "b": "p q"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_unicode(encoding: str) -> None:
    assert values("schlüssel: 値 🚢\n".encode(encoding)) == [{"schlüssel": "値 🚢"}]


def test_a_byte_order_mark_hides_no_key() -> None:
    assert values(codecs.BOM_UTF8 + b"a: 1") == [{"a": 1}]


def test_json_may_write_two_escapes_for_one_character() -> None:
    assert values(rb'{"a": "\ud83d\ude00", "b": "\\ud83d\\ude00"}') == [{"a": "😀", "b": r"\ud83d\ude00"}]


def test_json_indented_by_tabs() -> None:
    assert values(b'{\n\t"a": [\n\t\ttrue\n\t]\n}\n') == [{"a": [True]}]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 13),
        (("d",), 13),
        (("d", 0), 14),
        (("d", 1), 15),
        (("d", 1, "e"), 15),
        (("d", 7), 13),
        (("none",), 13),
        (("d", "none"), 13),
    ],
)
def test_the_line_of_a_field_or_of_what_is_around_it(path: tuple[str | int, ...], line: int) -> None:
    assert list(load_all(TEXT))[1].line_of(path) == line


def test_the_line_of_a_field_in_block_style() -> None:
    first = next(load_all(TEXT))
    assert first.line == 3
    assert first.line_of(("b", "c", 1, "z")) == 9


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"a: 1\nb: [\n", 3),
        (b"a: 1\n\tb: 2\n", 2),
        (b"a: 1\nb: 2\na: 3\n", 3),
        (b"a:\n  b: *missing\n", 2),
        (b"a: 1\nb: \x00\n", 2),
        (b"a: 1\nb: \xff\n", 2),
        (b"a: 1\n\nb: .nan\n", 3),
        (b"a: 1\n? [b]\n: c\n", 2),
        (b"a: 1\n---\n\nb: !!int x\n", 4),
        (b"a: &x 1\nb: &x 2\n", 2),
    ],
)
def test_an_error_names_its_line(data: bytes, line: int) -> None:
    assert error_of(data).line == line


def test_a_tag_makes_no_object() -> None:
    for tag in (b"!!python/object:os.system", b"!!python/object/apply:os.system", b"!<tag:yaml.org,2002:python/tuple>"):
        for content in (b" [id]", b" {a: b}", b" id"):
            assert error_of(b"a: " + tag + content).message == "tags of Python objects are refused"


@pytest.mark.parametrize(
    "data",
    [
        b"password: !!int canary",
        b"password: !!float canary",
        b"password: !!binary canary!",
        b"password: *canary",
        b"password: 'canary",
        b"password: [canary",
        b"password: canary: canary",
        b'password: "\\canary"',
        b"password: @canary",
        b"password: {canary}}",
        b"a: %canary\n- b",
    ],
)
def test_an_error_repeats_no_value(data: bytes) -> None:
    assert "canary" not in error_of(data).message


def test_a_long_key_is_cut_in_an_error() -> None:
    key = b"k" * 900
    assert len(error_of(key + b": 1\n" + key + b": 2\n").message) < 100
