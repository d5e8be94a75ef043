"""`/metrics` of running processes: every series that the documentation names is there, and moves with what happens."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service import figures
from tests.e2e.world import World, config_map
from tests.parts.process import free_port
from tests.parts.waiting import until
from tests.parts.windlass import application, cluster
from windlass.metrics import REGISTRY

pytestmark = pytest.mark.e2e

DOCUMENTED = Path(__file__).parents[2] / "docs/operations.md"


@pytest.fixture
def measured(parts_folder: Path, unique: str, kubeconfig: Path) -> Iterator[tuple[World, int, int]]:
    """A world whose service and worker are scraped."""
    folder = parts_folder / unique
    folder.mkdir()
    world = World(folder, unique, kubeconfig)
    ports = free_port(), free_port()
    try:
        for part, port in zip(("service", "worker"), ports, strict=True):
            world.windlass.settings[part] = {"WINDLASS_METRICS_PORT": str(port)}
        world.start()
        yield world, *ports
    finally:
        world.stop()


def scrape(port: int) -> dict[tuple[str, ...], float]:
    """Name and label values -> value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return {(s.name, *(s.labels[k] for k in sorted(s.labels))): s.value for f in families for s in f.samples}


def exposed(port: int) -> set[str]:
    """The series that a process knows, also those that nothing was counted for yet, as the documentation calls them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        found = re.findall("^# TYPE ([a-z_]+) ", answer.read().decode(), re.MULTILINE)
    return {name for name in found if not name.endswith("_created")}


def documented() -> set[str]:
    return set(re.findall(r"^\| `(windlass_[a-z_]+)`", DOCUMENTED.read_text(), re.MULTILINE))


def test_the_documentation_names_every_series_and_no_other() -> None:
    registered = {f"{f.name}_total" if f.type == "counter" else f.name for f in REGISTRY.collect()}
    assert documented() == {name for name in registered if name.startswith("windlass_")}
    assert figures.QUEUE_JOBS.describe()[0].name in documented()


def test_a_push_is_seen_in_both_processes(measured: tuple[World, int, int]) -> None:
    world, service_port, worker_port = measured
    world.push({"manifests/b.yaml": config_map("b", "1")})
    mine = scrape(service_port)
    assert mine["windlass_webhooks_total", "generic", "queued"] >= 1
    assert mine["windlass_webhook_seconds_count",] >= 1
    assert mine["windlass_redis_up",] == 1
    applications = {key[2]: value for key, value in mine.items() if key[0] == "windlass_applications"}
    assert applications == {"Synced": 1}
    done = scrape(worker_port)
    assert done["windlass_runs_total", "Synced"] >= 2
    assert done["windlass_objects_total", "applied"] >= 3
    assert done["windlass_api_requests_total", "201", "PATCH"] >= 1
    assert done["windlass_git_fetches_total", "v2"] >= 1
    assert done["windlass_worker_jobs_limit",] == 16
    until(lambda: scrape(worker_port).get(("windlass_watcher_leader", "local")) == 1)
    told = exposed(service_port) | exposed(worker_port)
    assert {name for name in told if name.startswith("windlass_")} == documented()


def test_a_cluster_that_nobody_can_watch_is_told_of_until_it_is_not_wanted(measured: tuple[World, int, int]) -> None:
    """The alert needs a 0: a series that isn't there is nobody's trouble."""
    world, _, port = measured
    away = ("windlass_watcher_leader", "away")
    unused = application("unused", repository=world.name, cluster="away", namespace=world.name)
    world.windlass.write(cluster("away", world.windlass.folder / "nowhere"), unused, name="away.yaml")
    until(lambda: scrape(port).get(away) == 0, show=lambda: world.windlass.log("worker"))
    (world.windlass.documents / "away.yaml").unlink()
    until(lambda: away not in scrape(port), show=lambda: world.windlass.log("worker"))


def test_an_unsigned_delivery_is_counted_and_nothing_of_it_becomes_a_label(measured: tuple[World, int, int]) -> None:
    world, service_port, _ = measured
    request = urllib.request.Request(f"{world.windlass.url}/webhooks/{world.name}", data=b"{}")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(request, timeout=10)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{world.windlass.url}/webhooks/nobody-knows", data=b"", timeout=10)
    found = scrape(service_port)
    assert found["windlass_webhooks_total", "generic", "unsigned"] == 1
    assert found["windlass_webhooks_total", "none", "unknown"] == 1
    assert not any("nobody" in word for key in found for word in key)
    assert not any(world.name in word for key in found for word in key)
