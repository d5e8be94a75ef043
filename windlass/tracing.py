"""Traces, an extra: one of each event, from the webhook to the applications that became healthy by it.

A trace is known by its event's id, which the job's hint and the run's record carry anyway: nothing more goes through Redis, and
who has an event's id from a log has its trace. What must hold: without OTEL_EXPORTER_OTLP_ENDPOINT nothing of OpenTelemetry is
imported, and a span costs one comparison; with it, spans are sent by a thread, and one that can't be sent is dropped.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec
import structlog

from windlass.state import RunRecord

log = structlog.get_logger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

Attributes = Mapping[str, str | int]


class Span(NamedTuple):
    """What took how long. Times are seconds since the epoch, ids as OpenTelemetry has them; ``parent`` 0 for none."""

    name: str
    trace: int
    id: int
    parent: int
    start: float
    end: float
    attributes: Attributes
    receives: bool = False  # it begins with a request of somebody else's
    error: str = ""


_send: Callable[[Span], None] | None = None


def configure(process: str) -> None:
    """Trace from now on, if the environment names where to."""
    global _send
    if not any(map(os.environ.get, ENDPOINTS)) or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return
    try:
        from windlass.otel import sender
    except ImportError:
        log.warning("tracing.unavailable", hint="OTEL_EXPORTER_OTLP_ENDPOINT is set: pip install windlass[otel]")
        return
    _send = sender(process)


def received(event: str, start: float, *, endpoint: str, status: int) -> None:
    """A delivery was answered now."""
    if _send is None:
        return
    said: Attributes = {"windlass.event": event, "windlass.endpoint": endpoint, "http.response.status_code": status}
    _send(Span("webhook", _trace(event), _id("webhook", event), 0, start, time.time(), said, receives=True))


def run_ended(application: str, record: RunRecord, began: Mapping[str, float]) -> None:
    """An application's run ended. ``began``: when its steps did; those before it follow each other from the delivery on."""
    if _send is None:
        return
    trace, run = _trace(record.event or _run(application, record)), _id("run", _run(application, record))
    parent = _id("webhook", record.event) if record.event and record.received else 0
    end = record.started + record.durations.get("total", 0.0) / 1000
    steps = {step: took / 1000 for step, took in record.durations.items() if step not in ("total", "healthy")}
    start = record.received or record.started - sum(took for step, took in steps.items() if step not in began)
    said: Attributes = {
        "windlass.event": record.event,
        "windlass.application": application,
        "windlass.phase": record.phase,
        "windlass.applied": record.applied,
        "windlass.pruned": record.pruned,
        "vcs.ref.head.revision": record.revision,
    }
    error = record.errors[0] if record.errors else ""
    _send(Span(f"reconcile {application}", trace, run, parent, start, end, said, error=error))
    at = start
    for step, took in steps.items():
        at = began.get(step, at)
        _send(Span(step, trace, _id(step, _run(application, record)), run, at, at + took, {}))
        at += took


def became_healthy(application: str, last: bytes) -> None:
    """An application's health was told; ``last`` is its last run's record as it is kept now."""
    if _send is None:
        return
    record = msgspec.json.decode(last, type=RunRecord)
    if "healthy" not in record.durations:
        return
    name, start = _run(application, record), record.started + record.durations.get("total", 0.0) / 1000
    trace, end = _trace(record.event or name), start + record.durations["healthy"] / 1000
    _send(
        Span(
            "healthy", trace, _id("healthy", name), _id("run", name), start, end, {"windlass.application": application}
        )
    )


def _run(application: str, record: RunRecord) -> str:
    return f"{record.event} {application} {record.started!r}"


def _trace(event: str) -> int:
    """An event's id as a trace's: itself, where it is one (a UUID), else a hash of it."""
    digits = event.replace("-", "").lower()
    uuid = len(digits) == 32 and all(digit in "0123456789abcdef" for digit in digits)
    return int(digits if uuid else hashlib.sha256(event.encode()).hexdigest()[:32], 16) or 1


def _id(kind: str, of: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{kind} {of}".encode()).digest()[:8]) or 1
