"""What spans say, from a run's record alone."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from windlass import tracing
from windlass.state import RunRecord
from windlass.tracing import Span

EVENT = "0d5a1e7e-2f64-4b5c-9b0e-6a7f0c1d2e3f"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Span]]:
    spans: list[Span] = []
    monkeypatch.setattr(tracing, "_send", spans.append)
    return spans  # type: ignore[return-value]


def record(**fields: object) -> RunRecord:
    durations = {"queue": 500.0, "tip": 20.0, "fetch": 30.0, "render": 1.0, "apply": 40.0, "total": 100.0}
    given = {"event": EVENT, "revision": "c", "phase": "Synced", "started": 101.0, "received": 100.0}
    return RunRecord(**{**given, "durations": durations, **fields})  # type: ignore[arg-type]


def test_processes_that_never_meet_write_one_trace(sent: list[Span]) -> None:
    tracing.received(EVENT, 99.9, endpoint="shop", status=202)
    ended = record()
    tracing.run_ended("web", ended, {"render": 101.0, "apply": 101.02})
    told = msgspec.structs.replace(ended, durations={**ended.durations, "healthy": 2000.0})
    tracing.became_healthy("web", msgspec.json.encode(told))
    assert {f"{span.trace:032x}" for span in sent} == {EVENT.replace("-", "")}
    webhook, run, *steps, healthy = sent
    assert (run.parent, healthy.parent) == (webhook.id, run.id)
    assert {step.parent for step in steps} == {run.id}
    assert len({span.id for span in sent}) == len(sent)
    assert [(step.name, round(step.start, 3), round(step.end, 3)) for step in steps] == [
        ("queue", 100.0, 100.5),
        ("tip", 100.5, 100.52),
        ("fetch", 100.52, 100.55),
        ("render", 101.0, 101.001),
        ("apply", 101.02, 101.06),
    ]
    assert (round(healthy.start, 3), round(healthy.end, 3)) == (101.1, 103.1)


def test_a_run_that_no_delivery_led_to_is_a_trace_of_its_own(sent: list[Span]) -> None:
    tracing.run_ended("web", record(event="", received=None), {})
    tracing.run_ended("other", record(event="", received=None), {})
    runs = [span for span in sent if span.name.startswith("reconcile")]
    assert [run.parent for run in runs] == [0, 0]
    assert runs[0].trace != runs[1].trace


def test_an_error_marks_the_run(sent: list[Span]) -> None:
    tracing.run_ended("web", record(phase="Failed", errors=["a.yaml:3: no", "more"]), {})
    assert sent[0].error == "a.yaml:3: no"


def test_a_record_that_is_not_healthy_says_nothing(sent: list[Span]) -> None:
    tracing.became_healthy("web", msgspec.json.encode(record(health="Degraded")))
    assert sent == []


def test_off_it_sends_nothing() -> None:
    assert tracing._send is None
    tracing.run_ended("web", record(), {})
