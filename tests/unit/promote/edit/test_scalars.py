"""Whatever a tag looks like, it is read as that text again, by our rules and by those of YAML 1.1; nothing else moves."""

from __future__ import annotations

import re

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from yaml.nodes import ScalarNode

from windlass.yamls import load_all
from workers.promote.edit.model import EditError
from workers.promote.edit.pages import Page, below
from workers.promote.edit.scalars import added, rewritten

STYLES = [
    "tag: OLD # c\n", "tag: 'OLD'\n", 'tag: "OLD"\r\n', "{tag: OLD}", "{tag: 'OLD', x: 1}", "[{tag: OLD}]", "tag:   OLD",
    "tag: &anchor OLD\nx: *anchor\n", "tag: !!str 'OLD'\n", "tag: &a !!str OLD # c", "tag: >-\n  OLD\nx: 1\n",
    "tag: |-\r\n    OLD\r\n", "\ufefftag: OLD\n", "é: 🚀\ntag: OLD\n", "? tag\n: OLD\n", "tag:\n  OLD\n", "--- {tag: OLD}\n...\n",
    "tag: !!str\n  # why\n  'OLD'\n", '{"tag":"OLD"}', "a: 1\n---\ntag: OLD\n",
]  # fmt: skip
EMPTY = [
    "tag:\n",
    "tag: # c\n",
    "{tag: }",
    "tag: &a\nx: *a\n",
    "tag: ''\n",
    "tag: ~\n",
    "tag: 1.10\n",
    '{"tag":1.10}',
    "tag: null # c",
]
tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,12}", fullmatch=True) | st.from_regex(
    re.compile(r"[0-9]{1,4}([.eE_:x-][0-9]{1,3}){0,3}"), fullmatch=True
).filter(lambda tag: ":" not in tag)
olds = st.sampled_from(["v1", "latest", "stable-2", "x.y"])


def edit(text: str, new: str) -> str:
    page = Page("values.yaml", text.encode())
    for document in page.documents:
        node = document.node.value[0] if text.startswith("[") else document.node
        found = below(node, "tag")
        if isinstance(found, ScalarNode):
            start, end, written = rewritten(page.text, found, new)
            prefix = "\ufeff" if text.startswith("\ufeff") else ""
            return prefix + page.text[:start] + written + page.text[end:]
    raise AssertionError(text)


def read(text: str) -> list[object]:
    values = [parsed.value for parsed in load_all(text.encode())]
    return [(value[0] if isinstance(value, list) else value).get("tag") for value in values]


@given(st.sampled_from(STYLES), olds, tags)
@example(STYLES[0], "v1", "1.10")
@example(STYLES[0], "v1", "1e3")
@example(STYLES[3], "v1", "on")
@example(STYLES[5], "v1", "0x1F")
@example(STYLES[0], "v1", "1_000")
@example(STYLES[0], "v1", "2024-01-02")
@example(STYLES[0], "v1", "1e999")
@example(STYLES[0], "v1", "null")
def test_a_tag_is_the_same_text_to_every_reader(style: str, old: str, new: str) -> None:
    before = style.replace("OLD", old)
    after = edit(before, new)
    assert read(after)[-1] == new
    value = list(yaml.safe_load_all(after))[-1]  # YAML 1.1 as another reader has it
    assert (value[0] if isinstance(value, list) else value)["tag"] == new


@given(st.sampled_from(STYLES), olds, tags)
def test_quotes_stay_and_nothing_else_moves(style: str, old: str, new: str) -> None:
    after = edit(style.replace("OLD", old), new)
    assert after in (style.replace("OLD", new), style.replace("OLD", f'"{new}"'))
    if "'OLD'" in style or '"OLD"' in style:
        assert after == style.replace("OLD", new)


@given(st.sampled_from(STYLES), olds, tags)
def test_back_and_forth(style: str, old: str, new: str) -> None:
    before = style.replace("OLD", old)
    assert edit(edit(before, new), old) in (before, before.replace(old, f'"{old}"'))


@given(st.sampled_from(EMPTY), tags)
def test_what_was_empty_or_a_number_becomes_text(text: str, new: str) -> None:
    after = edit(text, new)
    assert read(after) == [new]
    assert ("# c" in after) == ("# c" in text)


@pytest.mark.parametrize("new", ["a\nb: 1", "é", "\x00", "a\u2028b"])
def test_only_printable_ascii_is_written(new: str) -> None:
    with pytest.raises(EditError):
        edit("tag: x\n", new)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a: 1\n", 'a: 1\ntag: "1.10"\n'),
        ("a: 1", 'a: 1\ntag: "1.10"'),
        ("a: 1 # c\r\nb: 2\r\n", 'a: 1 # c\r\ntag: "1.10"\r\nb: 2\r\n'),
        ("- a: 1\n  b: 2\n", '- a: 1\n  tag: "1.10"\n  b: 2\n'),
        ("{a: 1, b: 2}", '{a: 1, tag: "1.10", b: 2}'),
        ('{"a":1}', '{"a":1, "tag": "1.10"}'),
        ("a:\n  x:\n  - y\n\n  # c\n\nb: 2\n", 'a:\n  x:\n  - y\ntag: "1.10"\n\n  # c\n\nb: 2\n'),
        ("a: |\n  x\n  y\n\nb: 2\n", 'a: |\n  x\n  y\ntag: "1.10"\n\nb: 2\n'),
        ("z: &z 1\na: *z # c\nb: 2\n", 'z: &z 1\ntag: "1.10"\na: *z # c\nb: 2\n'),
    ],
)
def test_a_new_pair_stands_after_another(before: str, after: str) -> None:
    page = Page("x.yaml", before.encode())
    node = page.documents[0].node
    start, end, new = added(page.text, node.value[0] if before.startswith("- ") else node, 0, "tag", "1.10")
    assert page.text[:start] + new + page.text[end:] == after
    assert read(after) == ["1.10"]
