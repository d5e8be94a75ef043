"""One object, two applications: who has it keeps it, and who wanted it gets it the moment it is free."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis

from tests.e2e.world import World, config_map
from tests.parts.waiting import until
from tests.parts.windlass import application, cluster, repository
from windlass.documents.types import source_id

pytestmark = pytest.mark.e2e


@pytest.fixture
def second(world: World, parts_folder: Path) -> str:
    """An application of another repository, that was refused the first one's object and won't try again by itself."""
    name = f"{world.name}-second"
    url = world.git.create(name)
    world.git.work_tree(name, parts_folder / name).commit_and_push({"manifests/a.yaml": config_map("a", "second")})
    world.windlass.write(*documents(world, with_first=True))
    until(lambda: "wants this object too" in "".join(world.windlass.last_run(name).errors))
    assert url == documents(world, with_first=True)[1]["spec"]["url"]
    with redis.Redis.from_url(world.redis.url) as connection:
        until(lambda: connection.zrem("windlass:retries", source_id(name, "refs/heads/main")))
    assert world.value("a") == "1"
    return name


def documents(world: World, *, with_first: bool) -> list[dict[str, Any]]:
    name = f"{world.name}-second"
    first = application(world.name, repository=world.name, path="manifests", namespace=world.name)
    return [
        repository(world.name, world.url, forge="generic"),
        repository(name, world.url.replace(world.name, name), forge="generic"),
        cluster("local", world.kubeconfig),
        application(name, repository=name, path="manifests", namespace=world.name),
        *([first] if with_first else []),
    ]


def test_a_commit_that_lets_go_of_an_object_wakes_who_was_refused_it(world: World, second: str) -> None:
    world.deliver(world.work.commit_and_push({"manifests/a.yaml": None, "manifests/b.yaml": config_map("b", "1")}))
    until(lambda: world.value("a") == "second", show=lambda: world.windlass.log("worker")[-3000:])
    until(lambda: world.windlass.last_run(second).errors == [])


def test_so_does_an_application_that_is_deleted(world: World, second: str) -> None:
    assert world.windlass.run("delete", world.name, "--yes").returncode == 0
    until(lambda: world.value("a") == "second", show=lambda: world.windlass.log("worker")[-3000:])


def test_an_application_without_a_document_keeps_its_objects_until_they_are_deleted(world: World, second: str) -> None:
    world.windlass.write(*documents(world, with_first=False))
    until(lambda: f"application {world.name} " in "".join(world.windlass.last_run(second).errors))
    until(lambda: "wants this object too" not in "".join(world.windlass.last_run(second).errors))
    assert world.value("a") == "1"
    assert world.windlass.run("delete", world.name, "--cluster", "local", "--yes").returncode == 0
    until(lambda: world.value("a") == "second", show=lambda: world.windlass.log("worker")[-3000:])
