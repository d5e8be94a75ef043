"""How a scalar is written anew in its own style, at its own place; and how a key is added beside others. Pure.

What must hold: the scalar keeps its quotes, its anchor and its tag; text that some reader of YAML would take for something else
when it isn't quoted (1.10, 1e3, on, 2024-01-01) is quoted. Only printable ASCII is ever written.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from windlass import yaml_scalars
from windlass.yamls import LITERAL, PLAIN
from workers.promote.edit.model import EditError

_WORD = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_./@+-]|:(?=[A-Za-z0-9_./@+-]))*", re.ASCII)
"""What may stand without quotes anywhere, also in flow style, if it means text."""
_AMBIGUOUS = re.compile(
    r"""  [0-9][0-9_]*\.?[0-9_]*(?:[eE][+-]?[0-9_]+)?   # numbers, of YAML 1.1, 1.2 and those too large for us
        | 0[xXoObB][0-9A-Fa-f_]+
        | [0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?   # YAML 1.1: to the base of 60
        | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt].*)?     # a date
    """,
    re.VERBOSE | re.ASCII,
)
_PROPERTIES = re.compile(r"(?:[&!][^\s]*(?:\s|#[^\r\n]*(?=[\r\n]))*)+")
_ALIAS = re.compile(r"\s*:\s+\*[^\s,\[\]{}]+")
_LINE_END = re.compile(r"[ \t]*(?:#[^\r\n]*)?(?=\r|\n|\Z)")
_FLOW = re.compile(r"\s*[{\[]")
_NEWLINE = re.compile(r"\r\n|\n|\r")


class Written(NamedTuple):
    """Characters ``start`` to ``end`` become ``new``."""

    start: int
    end: int
    new: str


def is_text(node: Node) -> bool:
    """Is it a scalar that every reader takes for text as we do?"""
    if not isinstance(node, ScalarNode):
        return False
    if node.tag is LITERAL or (node.tag is PLAIN and node.style):
        return True
    if node.tag is PLAIN:
        return isinstance(yaml_scalars.plain(node.value), str)
    return isinstance(yaml_scalars.tagged(node.tag, node.value), str)


def rewritten(text: str, node: ScalarNode, new: str) -> Written:
    """``node``, which stands in ``text``, with the value ``new``.

    :raises EditError: it is written in a way in which it can't be replaced.
    """
    if not (new.isascii() and new.isprintable()):
        raise EditError("only printable ASCII is written into files")
    start, end = inner(text, node)
    if node.style in ("|", ">"):
        block = text[start:end]
        if not node.value.strip() or block.count(node.value.strip()) != 1 or not new:
            raise EditError(f"line {node.start_mark.line + 1}: a block of several lines can't be edited")
        start += block.index(node.value.strip())
        return Written(start, start + len(node.value.strip()), new)
    if node.style == "'":
        return Written(start, end, "'" + new.replace("'", "''") + "'")
    if node.style == '"':
        return Written(start, end, json.dumps(new))
    value = shown(new, quoted=not is_text(node) and is_json(text))
    if not node.value:
        return Written(end, end, value if text[end - 1 : end].isspace() else f" {value}")
    return Written(start, end, value)


def inner(text: str, node: ScalarNode) -> tuple[int, int]:
    """The place of the scalar itself: an anchor and a tag stand before it, and belong to the node.

    :raises EditError: it isn't where its marks say.
    """
    start, end = int(node.start_mark.index), int(node.end_mark.index)
    match = _PROPERTIES.match(text, start, end)
    start = match.end() if match else start
    opening = node.style or node.value[:1]
    if start > end or text[start : start + len(opening)] != opening:
        raise EditError(f"line {node.start_mark.line + 1}: written in a way that can't be edited exactly")
    return start, end


def shown(value: str, *, quoted: bool = False) -> str:
    """A value as it is written where no quotes are: in quotes if it must be, or if ``quoted``."""
    if not quoted:
        quoted = not _WORD.fullmatch(value) or bool(_AMBIGUOUS.fullmatch(value))
    if not quoted:
        try:
            quoted = yaml_scalars.plain(value) != value
        except yaml_scalars.ScalarError:
            quoted = True
    return json.dumps(value) if quoted else value


def is_json(text: str) -> bool:
    """May the file be JSON, where only text in quotes is text? (One that has plain text somewhere is none.)"""
    return _FLOW.match(text) is not None


def added(text: str, mapping: Node, after: int, key: str, value: str) -> Written:
    """A new pair in ``mapping``, after its pair of the number ``after``.

    :raises EditError: that pair is written in a way that leaves no place after it.
    """
    if not isinstance(mapping, MappingNode):
        raise EditError(f"line {mapping.start_mark.line + 1}: there is no place for another field")
    key_node, value_node = mapping.value[after]
    end = end_of_pair(text, key_node, value_node)
    if mapping.flow_style:
        quoted = text[key_node.start_mark.index] == '"'
        return Written(end, end, f", {json.dumps(key) if quoted else key}: {shown(value, quoted=quoted)}")
    return on_own_line(text, end, " " * key_node.start_mark.column + f"{key}: {shown(value)}")


def on_own_line(text: str, end: int, line: str) -> Written:
    """``line`` below the one in which something ends at ``end``; its comment stays with it.

    :raises EditError: more follows in that line.
    """
    match = _LINE_END.match(text, end)
    if match is None:
        raise EditError("there is no place for another line")
    newline = _NEWLINE.search(text, match.end()) or _NEWLINE.search(text)
    return Written(match.end(), match.end(), (newline[0] if newline else "\n") + line)


def end_of_pair(text: str, key: Node, value: Node) -> int:
    """Where the pair's last character is: its value's end, without the comments and empty lines that follow it.

    :raises EditError: the value is a block of text, whose end can't be told from what follows it.
    """
    if value.start_mark.index < key.end_mark.index:  # an alias: the node stands elsewhere
        match = _ALIAS.match(text, key.end_mark.index)
        if match is None:
            raise EditError(f"line {key.start_mark.line + 1}: written in a way that can't be edited exactly")
        return match.end()
    return _end(text, value)


def _end(text: str, node: Node) -> int:
    if isinstance(node, ScalarNode):
        if node.style in ("|", ">"):
            return len(text[: node.end_mark.index].rstrip())
        return int(node.end_mark.index)
    if not isinstance(node, CollectionNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    if isinstance(node, MappingNode):
        return end_of_pair(text, *node.value[-1])
    last = node.value[-1]
    if last.start_mark.index < node.start_mark.index:
        raise EditError(f"line {node.start_mark.line + 1}: the list ends with an alias")
    return _end(text, last)
