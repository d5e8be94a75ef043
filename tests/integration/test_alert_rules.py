"""The chart's alert rules: read by Prometheus' own parser, and about metrics and labels that there are."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from service.figures import REGISTRY  # with those that the service adds
from tests.parts.build import binary

pytestmark = pytest.mark.integration

RULES = Path(__file__).parents[2] / "charts/windlass/files/rules.yaml"


def read(file: Path) -> subprocess.CompletedProcess[str]:
    """What `promtool check rules` would find wrong; and of each rule a line with the metrics that it reads."""
    return subprocess.run([binary("rules"), str(file)], capture_output=True, text=True, timeout=60, check=False)


def labels() -> dict[str, set[str]]:
    """The label names of each series, by the name that Prometheus gives it."""
    found = {}
    for collector in REGISTRY._collector_to_names:
        for family in getattr(collector, "describe", list)():
            found[family.name] = found[f"{family.name}_total"] = set(getattr(collector, "_labelnames", ()))
    return found


def test_prometheus_takes_every_rule_and_each_reads_what_there_is() -> None:
    done = read(RULES)
    assert done.returncode == 0, done.stderr
    rules = [json.loads(line) for line in done.stdout.splitlines()]
    written = [rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    assert [rule["alert"] for rule in rules] == written
    known = labels()
    for rule in rules:
        assert rule["metrics"], rule["alert"]
        for metric, matched in rule["metrics"].items():
            assert metric in known, f"{rule['alert']} reads {metric}"
            assert set(matched) <= known[metric], f"{rule['alert']} matches {matched} of {metric}"


def test_no_figure_of_redis_is_counted_once_for_each_replica_of_the_service() -> None:
    """Each replica tells all of it; their sum is as many times too large."""
    shared = ("windlass_applications", "windlass_queue_jobs", "windlass_queue_oldest_seconds", "windlass_redis_up")
    chart = RULES.parents[1]
    rules = [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    panels = json.loads((chart / "files/dashboard.json").read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    scaled = re.findall("query: (.*)", (chart / "templates/worker.yaml").read_text())
    assert scaled
    for expression in (*rules, *asked, *scaled):
        for name in shared:
            for found in re.finditer(name, expression):
                before = expression[: found.start()]
                assert re.search(r"(max( by \([a-z, ]+\))? ?|absent)\($", before), expression


@pytest.mark.parametrize(
    ("text", "instead", "said"),
    [
        ("max(windlass_redis_up) == 0", "max(windlass_redis_up == 0", "unclosed left parenthesis"),
        ("for: 2m", "for: two minutes", "not a valid duration"),
        ("{{ $value }}", "{{ $valeu }}", "undefined variable"),
        ("alert: WindlassRedisAway", "alert: [a]", "cannot unmarshal"),
    ],
)
def test_a_broken_rule_is_found(tmp_path: Path, text: str, instead: str, said: str) -> None:
    broken = tmp_path / "rules.yaml"
    broken.write_text(RULES.read_text().replace(text, instead, 1))
    done = read(broken)
    assert done.returncode == 1
    assert re.search(said, done.stderr), done.stderr
