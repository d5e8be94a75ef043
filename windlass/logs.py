"""Structured events on standard error: one JSON object a line, or text where people read it; the event's id bound once.

What must hold in both: no local variable of a frame is shown (a token may be one), and nothing that a repository or a
sender chose can write to somebody's terminal but as text.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import MutableMapping
from typing import Any

import orjson
import structlog

QUIET = ("rq", "rq.worker", "rq.job", "aiohttp", "kubernetes_asyncio", "asyncio", "werkzeug")
"""Libraries that are heard from WARNING on."""


def configure(level: str, style: str) -> None:
    """Set up logging for this process; ``style`` is ``json``, ``console``, or ``auto``: console in a terminal."""
    number = getattr(logging, level.upper())
    terminal = sys.stderr.isatty()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,  # names and lines only; structlog's own for consoles shows local variables
    ]
    if style == "json" or (style == "auto" and not terminal):
        processors = [
            *shared,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=_dumps),
        ]
        factory: Any = structlog.BytesLoggerFactory(sys.stderr.buffer)
    else:
        processors = [
            *shared,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            _as_text,
            structlog.dev.ConsoleRenderer(colors=terminal and not os.environ.get("NO_COLOR")),
        ]
        factory = structlog.PrintLoggerFactory(sys.stderr)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_ToStructlog()], force=True)
    for name in QUIET:
        library = logging.getLogger(name)
        library.setLevel(logging.WARNING)
        library.handlers[:] = []
        library.propagate = True
    # At DEBUG this logger writes whole answers, Secrets among them.
    logging.getLogger("kubernetes_asyncio.client.rest").setLevel(logging.WARNING)


class _ToStructlog(logging.Handler):
    """What libraries log, in the same form as our own events."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        method = log.error if record.levelno >= logging.ERROR else log.warning
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # a library's own slip: arguments that don't fit its format
            message = str(record.msg)
        method("library.message", logger=record.name, message=message, exc_info=record.exc_info or None)


def _as_text(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Without what a terminal would obey: control characters, and those that turn the writing round."""
    return {name: _printable(value) for name, value in event.items()}


def _printable(value: Any) -> str:
    lines = str(value).split("\n")
    return "\n".join(
        "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line) for line in lines
    )


def _dumps(value: Any, default: Any = None, **_: Any) -> bytes:
    """One line of JSON. What orjson refuses (a number beyond 64 bits, a file name that isn't UTF-8) must not end a job."""
    try:
        return orjson.dumps(value, default=default or str)
    except TypeError:
        return json.dumps(value, default=str, skipkeys=True).encode()
