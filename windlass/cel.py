"""CEL, the Common Expression Language (https://cel.dev): what an expression may name, and whether it is one.

The library is loaded only when a document has an expression. Here expressions are only compiled, which their length
bounds; evaluating one may take all of a machine's memory (``[x].map(v, v + v)`` a few dozen times), and is done in a process
of its own (`workers.health.sandbox`).

Expressions name an object's fields as Flux's healthCheckExprs do (``status.phase``), or from ``self`` (``self.data``).
Macros and functions are the language's standard ones, and optional fields (``status.?phase.orValue('')``).
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

LONGEST = 2000
"""Characters of an expression: compiling one takes 20 ms at worst."""
FIELDS = ("apiVersion", "kind", "metadata", "spec", "status", "data")
SELF = "self"

_NOISE = re.compile(r"\A[A-Z_]+: |ERROR: <input>:(-1:-1: )?| \(in container ''\)| \[[A-Z_]+\]\Z")


class CelError(ValueError):
    """An expression isn't one; the message says where, for people."""


def compiled(expression: str) -> Any:
    """The program of an expression that is true or false of an object: a `cel_expr_python.cel.Expression`.

    :raises CelError: a syntax error, a name that isn't known, or a type other than bool.
    """
    if len(expression) > LONGEST:
        raise CelError(f"expected at most {LONGEST} characters")
    if not all(character.isprintable() or character in "\t\n" for character in expression):
        raise CelError("expected printable text")
    try:
        program = _environment().compile(expression)
    except RuntimeError as error:
        raise CelError(_reason(str(error))) from None
    found = program.return_type().name()
    if found not in ("BOOL", "DYN"):
        raise CelError(f"expected an expression that is true or false, found one of type {found[:50].lower()}")
    return program


@cache
def _environment() -> Any:
    from cel_expr_python import cel
    from cel_expr_python.ext import ext_optional

    variables = dict.fromkeys((*FIELDS, SELF), cel.Type.DYN)
    return cel.NewEnv(variables=variables, extensions=[ext_optional.ExtOptional()])


def _reason(message: str) -> str:
    """The library's first error, without its drawing: ``1:29: Syntax error: …``."""
    line = next((line for line in message.splitlines() if line.strip()), "")
    return f"not a CEL expression: {_NOISE.sub('', line.strip())[:200]}"
