"""Helm's `--set` as values: what Argo CD's `helm.parameters` mean, laid over a mapping of values. Pure.

Source: `helm.sh/helm/pkg/strvals`: a name's steps are parted by dots, a backslash takes the next character as it is, `[n]` is an
item; null removes, true, false and whole numbers are what they look like, `{a,b}` is a list, and all else is a text.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})\Z")
_INDEX = re.compile(r"\[(\d{1,5})\]")
MOST_ITEMS = 1000

Steps = list[str | int]


class ParameterError(ValueError):
    """The parameter can't be said as a value; the message says why."""


def assign(values: dict[str, Any], name: str, text: str, *, as_text: bool, files: bool) -> None:
    """Set the parameter ``name`` in ``values``.

    :param as_text: it is a text, whatever it looks like (`forceString`).
    :param files: values files count less than ``values``: an item of a list that only they hold is not known.
    :raises ParameterError: the name is none, or an item's list isn't known.
    """
    path = steps(name)
    value = text if as_text else typed(text)
    _assign(values, path, value, files)


def steps(name: str) -> Steps:
    """The steps of a parameter's name.

    :raises ParameterError: it is none.
    """
    found: Steps = []
    rest = name
    while rest:
        word, rest = _word(rest)
        if word or not found or rest.startswith("."):
            if not word:
                raise ParameterError("not the name of a parameter")
            found.append(word)
        while match := _INDEX.match(rest):
            found.append(int(match[1]))
            rest = rest[match.end() :]
        if rest and not rest.startswith("."):
            raise ParameterError("not the name of a parameter")
        if rest == ".":
            raise ParameterError("not the name of a parameter")
        rest = rest[1:]
    if not found:
        raise ParameterError("not the name of a parameter")
    return found


def _word(text: str) -> tuple[str, str]:
    """The name at the beginning, and what follows it."""
    word, position = "", 0
    while position < len(text) and text[position] not in ".[":
        if text[position] == "\\":
            position += 1
        word += text[position : position + 1]
        position += 1
    return word, text[position:]


def typed(text: str) -> Any:
    """The value that Helm reads ``text`` as."""
    if text.startswith("{") and text.endswith("}"):
        return [typed(_plain(item)) for item in re.split(r"(?<!\\),", text[1:-1])]
    plain = _plain(text)
    if plain.lower() in ("true", "false"):
        return plain.lower() == "true"
    if plain.lower() == "null":
        return None
    return int(plain) if _INTEGER.match(plain) else plain


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _assign(values: dict[str, Any], path: Steps, value: Any, files: bool) -> None:
    holder: Any = values
    for step, following in pairwise(path):
        empty: Any = [] if isinstance(following, int) else {}
        below = _get(holder, step)
        if not isinstance(below, type(empty)):
            if isinstance(following, int) and files:
                raise ParameterError("an item of a list that may be in a values file: write the whole list")
            below = empty
            _set(holder, step, below)
        holder = below
    _set(holder, path[-1], value)


def _get(holder: Any, step: str | int) -> Any:
    if isinstance(step, int):
        return holder[step] if isinstance(holder, list) and step < len(holder) else None
    return holder.get(step)


def _set(holder: Any, step: str | int, value: Any) -> None:
    if isinstance(step, int):
        if step >= MOST_ITEMS:
            raise ParameterError(f"more than {MOST_ITEMS} items")
        holder += [None] * (step + 1 - len(holder))
    holder[step] = value
