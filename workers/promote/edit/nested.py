"""YAML in a scalar: values and patches that another document holds as text, edited at their place in the file. Pure.

What must hold: a character of the text is where we say it is in the file, or nothing is edited: lines that a reader would fold
have no such place. What is written there is escaped as the scalar's own style wants it.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from yaml.nodes import Node, ScalarNode

from windlass.yamls import YamlError
from workers.promote.edit.model import EditError, Wanted
from workers.promote.edit.pages import Page
from workers.promote.edit.places import Change, Direct, Fields, Inline, Place, Within, in_place
from workers.promote.edit.scalars import Written, inner, is_text

_HEADER = re.compile(r"\|(?:[+-]?[1-9]?|[1-9][+-])[ \t]*(?:#[^\r\n]*)?(?:\r\n|\n|\r)")
_NEWLINE = re.compile(r"\r\n|\n|\r")
_ESCAPED = re.compile(r'\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[^xuU\r\n])|[^\\"\r\n]')
_DOUBLED = re.compile(r"''|[^'\r\n]")


class Text:
    """The text that ``node`` holds, which is YAML itself."""

    def __init__(self, node: ScalarNode) -> None:
        """
        :raises YamlError: it isn't.
        """
        self.node = node
        self.page = Page("", node.value.encode())

    def within(self, file: str, written: Written) -> Written:
        """The same in ``file``, the text of the whole file.

        :raises EditError: the text is written in a way in which its characters have no places of their own.
        """
        find, escape = self._ways(file)
        return Written(find(written.start), find(written.end), escape(written.new))

    def changed(self, changes: Iterable[Direct]) -> str:
        """The text with these changes."""
        text = self.page.text
        for written in sorted((in_place(text, change) for change in changes), key=lambda one: one.start, reverse=True):
            text = text[: written.start] + written.new + text[written.end :]
        return text

    def _ways(self, file: str) -> tuple[Callable[[int], int], Callable[[str], str]]:
        start, end = inner(file, self.node)
        if self.node.style == "|":
            lines, indent = self._lines(file, start)
            newline = _NEWLINE.search(file, start)
            line_end = (newline[0] if newline else "\n") + " " * indent
            return (lambda index: self._in_block(lines, indent, index)), lambda new: _NEWLINE.sub(line_end, new)
        if self.node.style in ("'", '"'):
            places = self._places(file, start + 1, end - 1)
            double = self.node.style == '"'
            return (
                places.__getitem__,
                lambda new: json.dumps(new)[1:-1] if double else _on_one_line(new).replace("'", "''"),
            )
        raise self._refused()

    def _refused(self) -> EditError:
        return EditError(
            f"line {self.node.start_mark.line + 1}: text that is folded can't be edited exactly; write it after |"
        )

    # -- a block ----------------------------------------------------------------------------------------------------

    @cached_property
    def _begins(self) -> list[int]:
        """Where each line of the text begins."""
        return [0, *(match.end() for match in re.finditer("\n", self.node.value))]

    def _lines(self, file: str, start: int) -> tuple[list[int], int]:
        """Where each line begins in the file, and how far all are indented."""
        header = _HEADER.match(file, start)
        if header is None:
            raise self._refused()
        raw, position = [], header.end()
        for _ in self._begins:
            raw.append(position)
            newline = _NEWLINE.search(file, position)
            position = newline.end() if newline else len(file)
        first = next((index for index, line in enumerate(self.node.value.split("\n")) if line.strip()), None)
        if first is None:
            raise self._refused()
        line, text = file[raw[first] :].partition("\n")[0].removesuffix("\r"), self.node.value.split("\n")[first]
        indent = len(line) - len(text)
        if indent < 0 or line[:indent].strip(" ") or line[indent:] != text:
            raise self._refused()
        return raw, indent

    def _in_block(self, lines: list[int], indent: int, index: int) -> int:
        number = bisect_right(self._begins, index) - 1
        return lines[number] + indent + index - self._begins[number]

    # -- quotes -----------------------------------------------------------------------------------------------------

    def _places(self, file: str, start: int, end: int) -> list[int]:
        """Where each character is, and the end."""
        pattern = _ESCAPED if self.node.style == '"' else _DOUBLED
        found, position = [], start
        while position < end:
            match = pattern.match(file, position, end)
            if match is None:
                raise self._refused()
            found.append(position)
            position = match.end()
        if len(found) != len(self.node.value):
            raise self._refused()
        return [*found, end]


def _on_one_line(new: str) -> str:
    if _NEWLINE.search(new):
        raise EditError("there is no place for another line between single quotes")
    return new


@dataclass(frozen=True)
class Nested:
    """What a text names, as a place of the file that holds it."""

    field: str
    text: Text
    place: Inline | Fields

    @property
    def line(self) -> int:
        """In the file; of text in quotes, where it begins."""
        begins = int(self.text.node.start_mark.line) + 1
        return begins + self.place.line if self.text.node.style == "|" else begins

    @property
    def shown(self) -> str:
        return self.place.shown

    @property
    def name(self) -> str:
        return self.place.name

    def changes(self, wanted: Wanted) -> Iterator[Change]:
        for change in self.place.changes(wanted):
            yield Within(self.text, change, f"{self.field}: {change.field}")


def nested(node: Node | None, field: str, find: Callable[[Node], Iterator[Place]]) -> Iterator[Place]:
    """What ``find`` finds in the text of ``node``; nothing if it is no text, or no YAML."""
    if not isinstance(node, ScalarNode) or not is_text(node):
        return
    try:
        text = Text(node)
    except YamlError:
        return
    for document in text.page.documents:
        for place in find(document.node):
            if isinstance(place, Inline | Fields):
                yield Nested(field, text, place)
