"""Redis behind Sentinels, whole: its master dies, and pushes go on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.world import World, config_map
from tests.parts.sentinel import PASSWORD, SENTINEL_PASSWORD, SentinelRedis
from tests.parts.windlass import Windlass

pytestmark = pytest.mark.e2e


@pytest.fixture
def world(parts_folder: Path, unique: str, kubeconfig: Path) -> Iterator[World]:
    folder = parts_folder / unique
    folder.mkdir()
    made = World(folder, unique, kubeconfig)
    made.redis = SentinelRedis(folder)  # type: ignore[assignment]  # it has what a World asks of one
    windlass = Windlass(folder / "windlass", made.redis.url)
    made.windlass = windlass
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_a_push_after_the_master_died_is_applied(world: World) -> None:
    world.push({"manifests/a.yaml": config_map("a", "2")})
    assert isinstance(world.redis, SentinelRedis)
    world.redis.kill_master()
    world.push({"manifests/a.yaml": config_map("a", "3")})
    assert world.value("a") == "3"
    logged = world.windlass.log()
    assert PASSWORD not in logged
    assert SENTINEL_PASSWORD not in logged
