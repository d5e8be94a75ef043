"""An ApplicationSet's templates: `{{path.basename}}`, and the part of Go's templates (`goTemplate`) that names fields. Pure.

Go's: `{{ .path.basename }}`, `{{ index .path.segments 1 }}`, texts, numbers, parentheses, and pipes of the functions below.
What is more than that (if, range, with, variables) is an error, so that nothing is half a template. Sources: Argo CD's operator
manual, "Templates" and "Go Template" of ApplicationSet; text/template; sprig.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

_FLAT = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")
_GO = re.compile(r"(\s*\{\{-|\{\{)(.*?)(-\}\}\s*|\}\})", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|`[^`]*`)|(?P<number>-?\d+)|(?P<field>\.[\w.-]*)|(?P<word>\w+)|(?P<sign>[|()]))"""
)
_UNFIT = re.compile(r"[^a-z0-9.-]+")


class TemplateError(ValueError):
    """The template can't be filled in; the message says why."""


def fill(value: Any, parameters: dict[str, Any], *, go: bool) -> Any:
    """``value`` with the templates in all of its texts, keys included, filled in.

    :raises TemplateError: with Go's templates also for a parameter that isn't there; others stay as they are, as in Argo CD.
    """
    if isinstance(value, str):
        return _go(value, parameters) if go else _flat(value, parameters)
    if isinstance(value, dict):
        return {fill(key, parameters, go=go): fill(item, parameters, go=go) for key, item in value.items()}
    return [fill(item, parameters, go=go) for item in value] if isinstance(value, list) else value


def _flat(text: str, parameters: dict[str, Any]) -> str:
    def value(match: re.Match[str]) -> str:
        found = parameters.get(match[1])
        return match[0] if found is None else str(found)

    return _FLAT.sub(value, text)


def _go(text: str, parameters: dict[str, Any]) -> str:
    return _GO.sub(lambda match: _shown(_Expression(match[2], parameters).value()), text)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise TemplateError("a list, a mapping or nothing where a text is expected")


class _Expression:
    """One `{{ … }}`."""

    def __init__(self, source: str, parameters: dict[str, Any]) -> None:
        self._parameters = parameters
        self._tokens: list[tuple[str, str]] = []
        rest = source.strip()
        while rest:
            match = _TOKEN.match(rest)
            if match is None or match.lastgroup is None:
                raise TemplateError(f"{{{{ {source.strip()[:60]} }}}} is more than a field and functions of it")
            self._tokens.append((match.lastgroup, match[match.lastgroup]))
            rest = rest[match.end() :].lstrip()
        self._source = source.strip()[:60]

    def value(self) -> Any:
        found = self._pipeline()
        if self._tokens:
            raise self._wrong()
        return found

    def _pipeline(self) -> Any:
        found = self._command([])
        while self._tokens and self._tokens[0] == ("sign", "|"):
            self._tokens.pop(0)
            found = self._command([found])
        return found

    def _command(self, last: list[Any]) -> Any:
        """A value, or a function with its arguments, of which the one before the pipe is the last."""
        if not self._tokens:
            raise self._wrong()
        if self._tokens[0][0] != "word":
            if last:
                raise self._wrong()
            return self._operand()
        word = self._tokens.pop(0)[1]
        if word in ("true", "false"):
            return word == "true"
        function = FUNCTIONS.get(word)
        if function is None:
            raise TemplateError(f"`windlass import` does not know {word[:60]} in {{{{ {self._source} }}}}")
        arguments = []
        while self._tokens and self._tokens[0] not in (("sign", "|"), ("sign", ")")):
            arguments.append(self._operand())
        try:
            return function(*arguments, *last)
        except (TypeError, ValueError, LookupError, AttributeError, re.error):
            raise self._wrong() from None

    def _operand(self) -> Any:
        kind, token = self._tokens.pop(0)
        if kind == "field":
            return self._field(token)
        if kind == "text":
            return token[1:-1] if token[0] == "`" else json.loads(token)
        if kind == "number":
            return int(token)
        if (kind, token) != ("sign", "("):
            raise self._wrong()
        inner = self._pipeline()
        if not self._tokens or self._tokens.pop(0) != ("sign", ")"):
            raise self._wrong()
        return inner

    def _field(self, dotted: str) -> Any:
        found: Any = self._parameters
        for step in filter(None, dotted.split(".")):
            if not isinstance(found, dict) or step not in found:
                raise TemplateError(f"there is no parameter {dotted[:60]}")
            found = found[step]
        return found

    def _wrong(self) -> TemplateError:
        return TemplateError(f"{{{{ {self._source} }}}} is more than a field and functions of it")


def _index(holder: Any, *keys: Any) -> Any:
    for key in keys:
        holder = holder[key]
    return holder


def _normalize(text: str) -> str:
    """Argo CD's own: what may be a name (RFC 1123, 253 characters)."""
    return _UNFIT.sub("-", text.lower()).strip("-.")[:253].rstrip("-.")


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "index": _index,
    "normalize": _normalize,
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "title": lambda text: text.title(),
    "trim": lambda text: text.strip(),
    "trimPrefix": lambda prefix, text: text.removeprefix(prefix),
    "trimSuffix": lambda suffix, text: text.removesuffix(suffix),
    "replace": lambda old, new, text: text.replace(old, new),
    "trunc": lambda length, text: text[:length] if length >= 0 else text[length:],
    "default": lambda other, value=None: value if value not in (None, "", 0, False, [], {}) else other,
    "quote": lambda value: json.dumps(_shown(value), ensure_ascii=False),
    "toString": lambda value: _shown(value),
    "int": lambda value: int(value),
    "splitList": lambda separator, text: text.split(separator),
    "join": lambda separator, items: separator.join(map(_shown, items)),
    "first": lambda items: items[0],
    "last": lambda items: items[-1],
    "printf": lambda form, *values: form.replace("%v", "%s").replace("%d", "%s") % tuple(map(_shown, values)),
}
"""Functions of sprig, of text/template, and Argo CD's, by name; the piped value is the last argument."""
