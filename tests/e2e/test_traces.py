"""One trace of a push, from the webhook to healthy, at a real receiver of OTLP; and nothing of it where nobody asked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.world import World, config_map
from tests.parts.otlp import OtlpReceiver, Received
from tests.parts.waiting import until

pytestmark = pytest.mark.e2e

SERVICE = """apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector: {app: web}
  ports: [{port: 80}]
"""


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as made:
        yield made


@pytest.fixture
def traced(parts_folder: Path, unique: str, kubeconfig: Path, receiver: OtlpReceiver) -> Iterator[World]:
    folder = parts_folder / unique
    folder.mkdir()
    made = World(folder, unique, kubeconfig)
    made.windlass.environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    try:
        made.start()
        yield made
    finally:
        made.stop()


def of(receiver: OtlpReceiver, revision: str) -> list[Received]:
    """The spans of the trace in which ``revision`` was reconciled."""
    spans = receiver.spans
    traces = {span.trace for span in spans if span.attributes.get("vcs.ref.head.revision") == revision}
    return [span for span in spans if span.trace in traces]


def test_one_trace_from_the_webhook_to_healthy(traced: World, receiver: OtlpReceiver) -> None:
    record = traced.push({"manifests/a.yaml": config_map("a", "2"), "manifests/web.yaml": SERVICE})
    revision = traced.work.head
    reconcile = f"reconcile {traced.name}"

    def names() -> set[str]:
        return {span.name for span in of(receiver, revision)}

    until(
        lambda: {"webhook", reconcile, "healthy"} <= names(), show=lambda: f"{names()}\n{traced.windlass.log()[-3000:]}"
    )
    spans = {span.name: span for span in of(receiver, revision)}
    assert spans["webhook"].trace == record.event.replace("-", "")
    assert {spans[name].service for name in ("webhook", reconcile)} == {"windlass-service", "windlass-worker"}
    assert spans["webhook"].parent == ""
    assert spans[reconcile].parent == spans["webhook"].id
    steps = ("queue", "tip", "fetch", "render", "plan", "apply")
    assert {spans[step].parent for step in (*steps, "healthy")} == {spans[reconcile].id}
    begins = [spans[step].start for step in (*steps, "healthy")]
    assert begins == sorted(begins)
    assert abs(spans["webhook"].start - spans["queue"].start) < 1_000_000  # the same moment; Lua keeps 14 digits of it
    assert spans[reconcile].attributes["windlass.applied"] == 2
    assert spans[reconcile].error == ""


def test_an_error_is_in_the_trace_and_no_secret_is(traced: World, receiver: OtlpReceiver) -> None:
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: UPPER}\nstringData: {k: canary-value}\n"
    revision = traced.push({"manifests/s.yaml": secret}).revision

    def failed() -> bool:
        return any(span.error for span in of(receiver, revision))

    until(failed, show=lambda: traced.windlass.log("worker")[-3000:])
    assert "canary-value" not in repr(receiver.spans)


def test_without_an_endpoint_nothing_of_it_is_imported() -> None:
    """redis-py looks for OpenTelemetry's metrics by itself where they are installed; what sends traces is ours to leave out."""
    program = (
        "import os, sys; os.environ.pop('OTEL_EXPORTER_OTLP_ENDPOINT', None)\n"
        "ours = 'opentelemetry.exporter', 'opentelemetry.sdk.trace', 'windlass.otel'\n"
        "import service.app, workers.main\nfrom windlass import tracing\n"
        "tracing.configure('worker'); tracing.received('e', 0.0, endpoint='x', status=202)\n"
        "print([name for name in sys.modules if name.startswith(ours)])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
