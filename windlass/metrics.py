"""What is counted and measured, all of it: the names, kinds and labels of `/metrics`.

Prometheus' rules: base units, `_total` for counters, and label values out of small, closed sets. Nothing is labelled by
application, object, commit or address: what is about one of these is in its state and in the logs.
"""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from windlass.state import RunRecord

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
LONG = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

WEBHOOKS = Counter(
    "windlass_webhooks", "Deliveries, by forge and what came of them.", ["forge", "result"], registry=REGISTRY
)
WEBHOOK_SECONDS = Histogram(
    "windlass_webhook_seconds", "From a delivery's arrival to its answer.", buckets=QUICK, registry=REGISTRY
)
RUNS = Counter("windlass_runs", "Runs of applications that ended, by phase.", ["phase"], registry=REGISTRY)
RUN_SECONDS = Histogram(
    "windlass_run_seconds",
    "From the event's arrival (or the run's start, where there is none) to the end of a run that applied everything.",
    buckets=LONG,
    registry=REGISTRY,
)
STEP_SECONDS = Histogram("windlass_step_seconds", "The steps of runs.", ["step"], buckets=LONG, registry=REGISTRY)
OBJECTS = Counter("windlass_objects", "Objects, by what runs did with them.", ["action"], registry=REGISTRY)
DRIFT = Counter(
    "windlass_drift", "Foreign changes of owned objects, by what came of them.", ["outcome"], registry=REGISTRY
)
API_REQUESTS = Counter(
    "windlass_api_requests", "Requests to API servers that were answered.", ["method", "code"], registry=REGISTRY
)
API_RETRIES = Counter(
    "windlass_api_retries", "Requests to API servers that were tried again, by why.", ["reason"], registry=REGISTRY
)
GIT_FETCHES = Counter("windlass_git_fetches", "Fetches, by the way they went.", ["way"], registry=REGISTRY)
NOTIFICATIONS = Counter(
    "windlass_notifications",
    "Notifications, by the kind of their receiver and what came of them.",
    ["to", "result"],
    registry=REGISTRY,
)
JOBS_RUNNING = Gauge("windlass_worker_jobs_running", "Jobs that this worker runs now.", registry=REGISTRY)
JOBS_LIMIT = Gauge("windlass_worker_jobs_limit", "Jobs that this worker would run at once.", registry=REGISTRY)
WATCHER_LEADER = Gauge(
    "windlass_watcher_leader", "1 where this process holds the watches of a cluster.", ["cluster"], registry=REGISTRY
)

STEPS = frozenset({"tip", "fetch", "render", "plan", "apply", "prune", "total"})
"""The steps that are measured; a record may hold others, for people."""


def run_ended(record: RunRecord) -> None:
    """Count a run, from its record."""
    RUNS.labels(record.phase).inc()
    for action, count in (("applied", record.applied), ("pruned", record.pruned), ("failed", len(record.errors))):
        if count:
            OBJECTS.labels(action).inc(count)
    observe_steps(record.durations)
    if record.phase == "Synced":
        waited = max(0.0, record.started - record.received) if record.received else 0.0
        RUN_SECONDS.observe(waited + record.durations.get("total", 0.0) / 1000)


def observe_steps(milliseconds: Mapping[str, float]) -> None:
    for step in STEPS & milliseconds.keys():
        STEP_SECONDS.labels(step).observe(milliseconds[step] / 1000)
