"""What a repository may not do, whole: take Windlass' own records, or stop its application for good."""

from __future__ import annotations

import pytest
import redis

from tests.e2e.world import World, config_map
from tests.parts.waiting import until
from windlass.documents.types import source_id
from windlass.queue.sources import RECORDED
from windlass.state import application_key, objects_key
from workers.plan import Entry, sketch
from workers.render.plain import parse_file

pytestmark = pytest.mark.e2e


def test_no_application_can_have_the_record_of_what_another_one_owns(world: World) -> None:
    for name in (world.name, "of-tomorrow"):
        taken = config_map(f"application-{name}", "mine").replace("metadata:", "metadata:\n  namespace: windlass")
        run = world.push({"manifests/taken.yaml": taken, "manifests/a.yaml": config_map("a", name)})
        assert "Windlass' own record" in run.errors[0]
        assert "manifests/taken.yaml:1" in run.errors[0]
        assert world.value("a") == name
    parent = world.cluster.get(f"/api/v1/namespaces/windlass/configmaps/application-{world.name}")
    assert parent is not None
    assert "data" not in parent
    assert world.cluster.get("/api/v1/namespaces/windlass/configmaps/application-of-tomorrow") is None


def test_a_file_that_is_too_large_is_an_error_of_its_own_and_gone_with_the_file(world: World) -> None:
    huge = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "huge"}, "data": {"v": "' + "x" * (17 << 20)
    run = world.push({"manifests/huge.json": huge + '"}}', "manifests/a.yaml": config_map("a", "2")})
    (error,) = run.errors
    assert "manifests/huge.json" in error
    assert world.value("a") == "2"
    run = world.push({"manifests/huge.json": None, "manifests/a.yaml": config_map("a", "3")})
    assert run.errors == []
    until(lambda: world.value("a") == "3")


def test_drift_is_never_undone_from_a_commit_that_the_source_does_not_have(world: World) -> None:
    """Who writes Redis, and may push any branch (or open a pull request), chooses nothing that is applied."""
    text = config_map("a", "evil")
    evil = world.work.commit({"manifests/a.yaml": text})
    world.work.push(ref="HEAD:refs/heads/anybodys")
    (manifest,) = parse_file(text.encode(), "manifests/a.yaml")
    entry = Entry(sketch(manifest, "", 0, b"").hash, "", "manifests/a.yaml")
    with redis.Redis.from_url(world.redis.url) as memory:
        memory.hset(objects_key(world.name), f"ConfigMap/{world.name}/a", entry.dump())
        memory.hset(application_key(world.name), mapping={"revision": evil, "wanted": evil})
        memory.hset(f"windlass:source:{source_id(world.name, 'refs/heads/main')}", "processed", evil)
        memory.publish(RECORDED, f"{world.name}\nover\n0\nConfigMap/{world.name}/a")
    until(lambda: "drift.whole_run" in world.windlass.log("worker") or world.value("a") != "1")
    assert world.value("a") == "1"
