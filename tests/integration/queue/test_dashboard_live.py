"""rq-dashboard as its own process beside a real worker: jobs that run, failed or are scheduled are shown, and requeued."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rq.job import JobStatus

from tests.integration.queue.test_worker import Bench
from tests.parts.waiting import until
from tests.parts.windlass import Dashboard, Windlass

pytestmark = pytest.mark.integration

LOGIN = ("ops", "a long password")


class Site:
    """The dashboard as a browser asks it."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}queues"
        self._login = "Basic " + base64.b64encode(":".join(LOGIN).encode()).decode()

    def __call__(self, path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(self._url + path, method=method, headers={"Authorization": self._login})
        with urllib.request.urlopen(request, timeout=20) as answer:
            body = answer.read()
        return json.loads(body) if path.endswith(".json") else body.decode()

    def jobs(self, registry: str) -> dict[str, str]:
        """The descriptions of a registry's jobs, by id."""
        found = self(f"/0/data/jobs/windlass/{registry}/50/asc/1.json")["jobs"]
        return {job["id"]: job["description"] for job in found}

    def counts(self) -> dict[str, int]:
        """Of the queue, by what becomes of its jobs."""
        (queue,) = self("/0/data/queues.json")["queues"]
        return {name: queue[f"{name}_job_registry_count"] for name in ("started", "failed", "scheduled", "finished")}

    def answers(self) -> bool:
        try:
            return bool(self("/"))
        except (urllib.error.URLError, ConnectionError):
            return False


@pytest.fixture
def bench(redis_url: str) -> Iterator[Bench]:
    made = Bench(redis_url)
    yield made
    for process in made.processes:
        process.kill()
        process.wait()
    made.redis.close()


@pytest.fixture
def site(bench: Bench, tmp_path: Path) -> Iterator[Site]:
    login = {"WINDLASS_DASHBOARD_USERNAME": LOGIN[0], "WINDLASS_DASHBOARD_PASSWORD": LOGIN[1]}
    windlass = Windlass(tmp_path, bench.url, **login)
    with Dashboard(windlass, "--prefix", "/queues") as dashboard:
        made = Site(dashboard.url)
        until(made.answers, show=lambda: windlass.log("dashboard"))
        yield made
    windlass.stop()


@pytest.fixture
def busy(bench: Bench) -> Bench:
    """A worker that runs one job, for which another failed, while a third is to come."""
    bench.redis.set("fail:web", 1)
    bench.redis.set("sleep:shop", 600)
    bench.put("web-1", retries_left="0", description="reconcile web (push 1234abcd)")
    bench.put("shop-1", description="reconcile shop (push 5678abcd)")
    at = datetime.now(UTC) + timedelta(hours=1)
    bench.queue.enqueue_at(at, "reconcile", "later", 1, "d", job_id="later-1", description="reconcile later (retry)")
    bench.worker()
    bench.until(lambda: bench.status("web-1") == JobStatus.FAILED and bench.status("shop-1") == JobStatus.STARTED)
    return bench


def test_each_job_is_where_it_is_and_says_what_it_is(site: Site, busy: Bench) -> None:
    assert site.jobs("started") == {"shop-1": "reconcile shop (push 5678abcd)"}
    assert site.jobs("failed") == {"web-1": "reconcile web (push 1234abcd)"}
    assert site.jobs("scheduled") == {"later-1": "reconcile later (retry)"}
    assert site.counts() == {"started": 1, "failed": 1, "scheduled": 1, "finished": 0}
    (worker,) = site("/0/data/workers.json")["workers"]
    assert worker["state"] == "busy"
    assert "as the test asked for" in json.dumps(site("/0/data/job/web-1.json"))
    for page in ("/", "/0/view/workers", "/0/view/jobs/windlass/started/8/asc/1", "/0/view/job/shop-1"):
        assert "<html" in site(page)


@pytest.mark.parametrize("path", ["/job/web-1/requeue", "/requeue/windlass"])
def test_a_failed_job_that_is_requeued_runs_again(site: Site, busy: Bench, path: str) -> None:
    """One, or all of the queue; the worker that takes it is busy with another one meanwhile."""
    site(path, "POST")
    busy.until(lambda: busy.status("web-1") == JobStatus.FINISHED)
    assert busy.list("began").count("web-1") == 2
    assert site.counts() == {"started": 1, "failed": 0, "scheduled": 1, "finished": 1}
