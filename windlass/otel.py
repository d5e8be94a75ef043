"""Spans out by OTLP over HTTP, with OpenTelemetry's own SDK: imported only where `windlass.tracing` sends any.

Spans have ended when they come here, with ids of their own, so they are handed to the SDK's batches as they are, without its
tracers. Everything else (headers, certificates, batches, the service's name) is said by OpenTelemetry's own variables.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

import windlass
from windlass.tracing import Span


def sender(process: str) -> Callable[[Span], None]:
    """What takes spans, and sends them from a thread of its own; the last ones when the process ends."""
    name = os.environ.get("OTEL_SERVICE_NAME") or f"windlass-{process}"
    resource = Resource.create({SERVICE_NAME: name, SERVICE_VERSION: windlass.__version__})
    scope = InstrumentationScope("windlass", windlass.__version__)
    batches = BatchSpanProcessor(OTLPSpanExporter())
    atexit.register(batches.shutdown)

    def context(trace: int, span: int) -> SpanContext:
        return SpanContext(trace, span, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))

    def send(span: Span) -> None:
        batches.on_end(
            ReadableSpan(
                span.name,
                context(span.trace, span.id),
                parent=context(span.trace, span.parent) if span.parent else None,
                resource=resource,
                attributes=span.attributes,
                kind=SpanKind.SERVER if span.receives else SpanKind.INTERNAL,
                status=Status(StatusCode.ERROR, span.error) if span.error else Status(),
                start_time=round(span.start * 1e9),
                end_time=round(max(span.start, span.end) * 1e9),
                instrumentation_scope=scope,
            )
        )

    return send
