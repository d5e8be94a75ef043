"""The program of the process in which CEL expressions are evaluated; `workers.health.sandbox` starts it by its path.

A line of standard input asks: ``{"object": {…}, "expressions": [text, …]}``. The line that answers names the first
expression that is true (``{"true": 0}``); if none is, what was wrong with one (``{"error": "…"}``), or nothing (``{}``). What
must hold: neither time nor memory is taken beyond the budget. The kernel ends the process then, in whatever C++ it is.
"""

from __future__ import annotations

import resource
import signal
import sys
from functools import lru_cache
from typing import Any

import orjson

from windlass import cel

OUT_OF_MEMORY = 3
"""The exit status; what was taken is given back only by ending."""

program = lru_cache(maxsize=1000)(cel.compiled)

ABSENT = ("NOT_FOUND:", "No value with name", "Index error:")
"""How the library says that a field, a variable or an item isn't there: the expression isn't true (yet)."""


def main() -> None:
    cpu_seconds, memory = float(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    program("true")  # loads the library, outside of any object's budget
    for line in sys.stdin.buffer:
        question = orjson.loads(line)
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)  # SIGPROF's default action ends the process
        answer = answered(question["object"], question["expressions"])
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
        sys.stdout.buffer.flush()


def answered(obj: dict[str, Any], expressions: list[str]) -> dict[str, int | str]:
    """The answer about one object."""
    data = {field: obj[field] for field in cel.FIELDS if field in obj} | {cel.SELF: obj}
    error = ""
    for index, expression in enumerate(expressions):
        try:
            result = program(expression).eval(data=data)
            kind, value = result.type().name(), result.value()
        except MemoryError:
            raise SystemExit(OUT_OF_MEMORY) from None
        except RuntimeError as failure:
            if "bad_alloc" in str(failure):
                raise SystemExit(OUT_OF_MEMORY) from None
            return {"budget" if "budget exceeded" in str(failure) else "error": str(failure)}
        if value is True:
            return {"true": index}
        if kind == "ERROR" and not any(word in value for word in ABSENT):
            error = error or str(value)
        elif kind not in ("ERROR", "BOOL"):
            error = error or f"it is neither true nor false, but of type {kind.lower()}"
    return {"error": error[:500]} if error else {}


if __name__ == "__main__":
    main()
