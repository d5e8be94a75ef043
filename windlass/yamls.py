"""YAML as `sigs.k8s.io/yaml` reads it, which is what kubectl does: YAML 1.1 booleans, octal numbers, no dates, merge keys.

PyYAML's C parser does the parsing; resolving and building are ours, because no Python loader agrees with Go on manifests
(`yes`, `0644`, `1e3`, `12:30:45`), and because what is parsed may be hostile: nesting, aliases, documents and bytes have
budgets, and no tag makes an object. JSON is a subset and goes the same way. Pure: no I/O.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import yaml
from yaml._yaml import CParser
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

TAG = "tag:yaml.org,2002:"
TRUE = frozenset(["y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE"])
FALSE = frozenset(["n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE"])
NULL = frozenset(("", "~", "null", "Null", "NULL"))
NOT_FINITE = frozenset(f"{sign}{word}" for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")) | {
    ".nan",
    ".NaN",
    ".NAN",
}
EXPECTED: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "null": (type(None),)}
SPECIAL = frozenset("0123456789+-.yYnNtTfFoO~<")
"""First characters of plain scalars that may be anything but text."""

_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|0[0-7]+|0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_INT64_MIN, _UINT64_MAX = -(1 << 63), (1 << 64) - 1


class Limits(NamedTuple):
    """Budgets of one file."""

    size: int = 10 << 20  # bytes
    documents: int = 10_000
    depth: int = 200
    nodes: int = 1_000_000  # after aliases are followed


class YamlError(ValueError):
    """What is wrong, and in which line (from 1)."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.message, self.line = message, line


class Parsed(NamedTuple):
    """A document's value and the line (from 1) where its content begins."""

    value: Any
    line: int


class _Parser(CParser):
    """Resolves nothing while it composes: a scalar only says whether it was written plain."""

    def descend_resolver(self, current_node: object, current_index: object) -> None:
        """Path resolvers are a feature that nobody here uses."""

    def ascend_resolver(self) -> None:
        """See `descend_resolver`."""

    def resolve(self, kind: type[Node], value: object, implicit: Any) -> str:
        if kind is ScalarNode:
            return "plain" if implicit[0] else "quoted"
        return "collection"


def load_all(data: bytes, *, limits: Limits = Limits()) -> Iterator[Parsed]:  # noqa: B008 - immutable
    """Every document of ``data`` that isn't empty.

    :raises YamlError: not YAML, a duplicate key, a value that JSON can't hold, or a budget is exceeded.
    """
    if len(data) > limits.size:
        raise YamlError(f"{len(data)} bytes: more than the {limits.size} that a file may have", 1)
    try:
        parser = _Parser(data.removeprefix(b"\xef\xbb\xbf"))
        count = 0
        while parser.check_node():
            count += 1
            node = _node(parser)
            if count > limits.documents:
                raise YamlError(f"more than {limits.documents} documents in a file", _line(node))
            value = _Builder(limits).build(node, 0)
            if value is not None:
                yield Parsed(value, _line(node))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(error.problem or "not YAML", mark.line + 1 if mark else 1) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise YamlError(str(error).splitlines()[0], 1) from None
    except RecursionError:
        raise YamlError(f"nested deeper than {limits.depth} levels", 1) from None


def field_line(data: bytes, index: int, path: Sequence[str | int]) -> int:
    """The line (from 1) of the field at ``path`` in the ``index``-th (from 0) document that isn't empty."""
    parser = _Parser(data.removeprefix(b"\xef\xbb\xbf"))
    while parser.check_node():
        node = _node(parser)
        if isinstance(node, ScalarNode) and node.tag == "plain" and node.value in NULL:
            continue
        if index == 0:
            return _descend(node, path)
        index -= 1
    return 1


def _descend(node: Node, path: Sequence[str | int]) -> int:
    line = _line(node)
    for step in path:
        if isinstance(node, MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(step)]
            if not found:
                break
            line, node = _line(found[-1][0]), found[-1][1]
        elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = _line(node)
        else:
            break
    return line


def _node(parser: _Parser) -> Node:
    node = parser.get_node()
    assert node is not None, "there was one"
    return node


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


class _Builder:
    """Values from composed nodes, within the budgets. Aliases are shared nodes: each visit counts."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._left = limits, limits.nodes

    def build(self, node: Node, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise YamlError(f"more than {self._limits.nodes} values, aliases included", _line(node))
        if depth > self._limits.depth:
            raise YamlError(f"nested deeper than {self._limits.depth} levels", _line(node))
        if isinstance(node, ScalarNode):
            return _scalar(node)
        if isinstance(node, MappingNode):
            return self._mapping(node, depth)
        return [self.build(item, depth + 1) for item in node.value]

    def _mapping(self, node: MappingNode, depth: int) -> dict[str, Any]:
        built: dict[str, Any] = {}
        merged: list[dict[str, Any]] = []
        for key_node, value_node in node.value:
            if isinstance(key_node, ScalarNode) and key_node.tag == "plain" and key_node.value == "<<":
                merged += self._merged(value_node, depth)
                continue
            key = _key(key_node)
            if key in built:
                raise YamlError(f"the key {key!r} is there twice", _line(key_node))
            built[key] = self.build(value_node, depth + 1)
        for other in merged:
            for key, value in other.items():
                built.setdefault(key, value)
        return built

    def _merged(self, node: Node, depth: int) -> list[dict[str, Any]]:
        value = self.build(node, depth + 1)
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(item, dict) for item in values):
            raise YamlError("<<: expected a mapping, or a list of mappings", _line(node))
        return values


def _key(node: Node) -> str:
    if not isinstance(node, ScalarNode):
        raise YamlError("a mapping's key must be a scalar", _line(node))
    value = _scalar(node)
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        raise YamlError("a mapping's key must not be null", _line(node))
    return value if isinstance(value, str) else str(value)


def _scalar(node: ScalarNode) -> Any:
    tag, text = node.tag, str(node.value)
    if tag == "plain":
        return _plain(text, node)
    if tag == "quoted" or not tag.startswith(TAG) or tag == TAG + "str":
        return text
    if tag == TAG + "binary":
        return _binary(text, node)
    value = _plain(text, node)
    expected = EXPECTED.get(tag.removeprefix(TAG))
    if expected is None:
        if tag.startswith(TAG + "python"):
            raise YamlError(f"the tag {tag.removeprefix(TAG)} is not allowed", _line(node))
        return text
    if not isinstance(value, expected) or (isinstance(value, bool) and bool not in expected):
        raise YamlError(f"!!{tag.removeprefix(TAG)} does not fit {text!r}", _line(node))
    return value


def _binary(text: str, node: ScalarNode) -> str:
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise YamlError("!!binary: expected base64 of UTF-8 text", _line(node)) from None


def _plain(text: str, node: ScalarNode) -> Any:
    if text and text[0] not in SPECIAL:
        return text
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    if text in NULL:
        return None
    if text in NOT_FINITE:
        raise YamlError(f"{text}: JSON has no such number", _line(node))
    return _number(text)


def _number(text: str) -> int | float | str:
    digits = text.replace("_", "")
    if text[0] not in "0123456789+-.":
        return text
    if _INTEGER.match(digits):
        value = _integer(digits)
        return value if _INT64_MIN <= value <= _UINT64_MAX else float(value)
    if _FLOAT.match(digits):
        number = float(digits)
        return text if number in (float("inf"), float("-inf")) else _integral(number)
    return text


def _integer(digits: str) -> int:
    body = digits.lstrip("+-")
    sign = -1 if digits[0] == "-" else 1
    if len(body) > 1 and body[0] == "0" and body[1] in "01234567":
        return sign * int(body, 8)
    return sign * int(body, 0)


def _integral(number: float) -> int | float:
    """Go's JSON encoder writes 1e3 as 1000: the API server must see an integer there."""
    return int(number) if number.is_integer() and _INT64_MIN <= number <= _UINT64_MAX else number
