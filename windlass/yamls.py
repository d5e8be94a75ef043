"""YAML as `sigs.k8s.io/yaml` reads it, which is what kubectl does; JSON is a subset of it and goes the same way. Pure.

PyYAML's C parser composes; what scalars mean is ours (`windlass.yaml_scalars`), because no Python loader agrees with Go on
manifests. What is read may be hostile. So what must hold: bytes, documents, nesting, nodes, and values and text after aliases
are followed have budgets, each checked before it is spent; no tag makes an object; no message repeats a value. Stricter
than kubectl in two things that are accidents: a duplicate key is an error, and so is a key before a `<<` that holds it too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml
from yaml._yaml import CParser
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from windlass import yaml_scalars as scalars

Path = tuple[str | int, ...]
PLAIN, LITERAL, COLLECTION = "plain", "literal", "collection"

_ESCAPE = re.compile(rb"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|.)", re.DOTALL)


class Limits(NamedTuple):
    """Budgets of one file."""

    size: int = 10 << 20  # bytes; also the characters of all text, aliases followed
    documents: int = 10_000  # empty ones included
    depth: int = 200
    nodes: int = 300_000  # of one document, as written: a node takes 330 bytes until its document is built
    values: int = 1_000_000  # of the file, aliases followed


class YamlError(ValueError):
    """What is wrong, and in which line (from 1)."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.message, self.line = message, line


class Parsed:
    """A document's value, and where its parts stand."""

    __slots__ = ("node", "value")

    def __init__(self, value: Any, node: Node) -> None:
        self.value, self.node = value, node

    @property
    def line(self) -> int:
        """The line (from 1) where the document's content begins."""
        return _line(self.node)

    def line_of(self, path: Path) -> int:
        """The line (from 1) of the field at ``path``, or of the nearest one around it that is there."""
        node, line = self.node, self.line
        for step in path:
            if isinstance(node, MappingNode):
                found = [(key, value) for key, value in node.value if _key(key) == step]
                if not found:
                    break
                line, node = _line(found[-1][0]), found[-1][1]
            elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line = _line(node)
            else:
                break
        return line


def load_all(data: bytes, *, limits: Limits = Limits()) -> Iterator[Parsed]:  # noqa: B008 - immutable
    """Every document of ``data`` that isn't empty.

    :raises YamlError: not YAML, a duplicate key, a value that JSON can't hold, or a budget is exceeded.
    """
    if len(data) > limits.size:
        raise YamlError(f"{len(data)} bytes: more than the {limits.size} that a file may have", 1)
    data = _without_surrogates(data.removeprefix(b"\xef\xbb\xbf"))
    try:
        parser = _Parser(data, limits)
        builder = _Builder(limits)
        while parser.check_node():
            node = parser.next_document()
            value = builder.build(node, 0)
            if value is not None:
                yield Parsed(value, node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = "an anchor is defined twice" if error.problem == "second occurrence" else error.problem
        raise YamlError(problem or "not YAML", mark.line + 1 if mark else 1) from None
    except yaml.reader.ReaderError as error:
        raise YamlError(str(error.reason), data.count(b"\n", 0, error.position) + 1) from None


def _without_surrogates(data: bytes) -> bytes:
    r"""JSON writes what is beyond 16 bits as two escapes, `\ud83d\ude00`; YAML knows `\U0001f600` only."""
    if b"\\u" not in data or data.lstrip()[:1] not in (b"{", b"["):
        return data

    def joined(match: re.Match[bytes]) -> bytes:
        if match[1] is None:
            return match[0]
        return b"\\U%08x" % (0x10000 + ((int(match[1], 16) & 0x3FF) << 10) + (int(match[2], 16) & 0x3FF))

    return _ESCAPE.sub(joined, data)


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


class _Parser(CParser):
    """Composes within the budgets, and resolves nothing: a scalar only says whether it was written plain."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        super().__init__(data)
        self._limits = limits
        self._documents = self._depth = self._nodes = 0

    def next_document(self) -> Node:
        self._depth = self._nodes = 0
        node = self.get_node()
        assert node is not None, "check_node said that there is one"
        self._documents += 1
        if self._documents > self._limits.documents:
            raise YamlError(f"more than {self._limits.documents} documents in a file", _line(node))
        return node

    def descend_resolver(self, current_node: Node | None, current_index: object) -> None:
        """Called before each node is composed (not for an alias): here it can still be refused."""
        self._depth += 1
        self._nodes += 1
        if self._depth > self._limits.depth or self._nodes > self._limits.nodes:
            line = _line(current_node) if current_node is not None else 1
            if self._depth > self._limits.depth:
                raise YamlError(f"nested deeper than {self._limits.depth} levels", line)
            raise YamlError(f"more than {self._limits.nodes} keys and values in a document", line)

    def ascend_resolver(self) -> None:
        self._depth -= 1

    def resolve(self, kind: type[Node], value: object, implicit: Any) -> str:
        if kind is ScalarNode:
            return PLAIN if implicit[0] else LITERAL
        return COLLECTION


class _Builder:
    """Values from composed nodes. Aliases are shared nodes: each visit is paid for, since each is written out in the end."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._values, self._text = limits, limits.values, limits.size

    def build(self, node: Node, depth: int) -> Any:
        self._values -= 1
        if self._values < 0:
            raise YamlError(f"more than {self._limits.values} values, aliases included", _line(node))
        if type(node) is ScalarNode:
            return self._scalar(node)
        if depth >= self._limits.depth:
            raise YamlError(f"nested deeper than {self._limits.depth} levels", _line(node))
        if node.tag is not COLLECTION:
            _checked(node, scalars.refuse_objects, node.tag)
        if type(node) is MappingNode:
            return self._mapping(node, depth + 1)
        return [self.build(item, depth + 1) for item in node.value]

    def _scalar(self, node: ScalarNode) -> Any:
        text, tag = node.value, node.tag
        self._text -= len(text)
        if self._text < 0:
            raise YamlError(f"more than {self._limits.size} characters, aliases included", _line(node))
        if tag is PLAIN and not node.style:
            return text if text and text[0] not in scalars.SPECIAL else _checked(node, scalars.plain, text)
        return text if tag is LITERAL or tag is PLAIN else _checked(node, scalars.tagged, tag, text)

    def _mapping(self, node: MappingNode, depth: int) -> dict[str, Any]:
        built: dict[str, Any] = {}
        merged: set[str] = set()
        for key_node, value_node in node.value:
            if key_node.value == "<<" and key_node.tag is PLAIN and not key_node.style:
                merged |= self._merge(value_node, built, depth)
                continue
            key = _key(key_node)
            self._text -= len(key)
            if key in built:
                if key not in merged:
                    raise YamlError(f"the key {_short(key)} is there twice", _line(key_node))
                merged.discard(key)
            built[key] = self.build(value_node, depth)
        return built

    def _merge(self, node: Node, built: dict[str, Any], depth: int) -> set[str]:
        """Add what `<<` holds; of several mappings the first counts. What it brings, a later key may replace."""
        value = self.build(node, depth)
        several = value if isinstance(value, list) else [value]
        brought: dict[str, Any] = {}
        for item in reversed(several):
            if not isinstance(item, dict):
                raise YamlError("<<: expected a mapping, or a list of mappings", _line(node))
            brought.update(item)
        for key in brought:
            if key in built:
                message = f"<<: the key {_short(key)} stands before it too, and readers differ on which one counts"
                raise YamlError(message, _line(node))
        built.update(brought)
        return set(brought)


def _key(node: Node) -> str:
    """The name that JSON has for a mapping's key."""
    if type(node) is not ScalarNode:
        raise YamlError("a key must not be a mapping or a list", _line(node))
    text, tag = node.value, node.tag
    if tag is PLAIN and not node.style:
        return str(text if text and text[0] not in scalars.SPECIAL else _checked(node, scalars.plain_key, text))
    if tag is LITERAL or tag is PLAIN:
        return str(text)
    return str(_checked(node, scalars.key, _checked(node, scalars.tagged, tag, text)))


def _checked(node: Node, function: Any, *arguments: str) -> Any:
    """The function's answer, its error with the node's line."""
    try:
        return function(*arguments)
    except scalars.ScalarError as error:
        raise YamlError(str(error), _line(node)) from None


def _short(key: str) -> str:
    return repr(key if len(key) <= 60 else key[:57] + "...")
