"""A new release meets what an older one left in Redis: its queued jobs are run, nothing of them is lost.

`tests/data/upgrade/queue.json` is all that Redis held after two pushes of which no worker had heard, as the service and the
worker of commit 2936f83 wrote it (with RQ 3.0.0); what differs from run to run is named in capitals there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.e2e.world import World, config_map
from tests.parts.waiting import until
from windlass.documents.directory import DocumentDirectory
from windlass.documents.types import source_id

pytestmark = pytest.mark.e2e

DATA = Path(__file__).parents[1] / "data/upgrade/queue.json"
EVENT = "ee9d981bd82c42c8991d55ce527e8882"
"""The delivery of the second push there."""


def fill(redis: Redis, content: dict[str, dict[str, Any]]) -> None:
    """Make Redis hold exactly this."""

    def raw(text: str) -> bytes:
        return text.encode("latin-1")

    redis.flushall()
    for key, one in content.items():
        value = one["value"]
        match one["type"]:
            case "string":
                redis.set(key, raw(value))
            case "hash":
                redis.hset(key, mapping={raw(field): raw(item) for field, item in value.items()})
            case "list":
                redis.rpush(key, *map(raw, value))
            case "set":
                redis.sadd(key, *map(raw, value))
            case "zset":
                redis.zadd(key, {raw(member): score for member, score in value.items()})


def test_the_jobs_of_the_release_before_are_run(world: World) -> None:
    first = world.work.head
    world.windlass.stop()
    second = world.work.commit_and_push({"manifests/a.yaml": config_map("a", "2")})
    third = world.work.commit_and_push({"manifests/b.yaml": config_map("b", "3")})
    source = source_id(world.name, "refs/heads/main")
    with Redis.from_url(world.redis.url) as redis:
        said = {
            "NAME": world.name,
            "FIRST": first,
            "SECOND": second,
            "THIRD": third,
            "DIGEST": DocumentDirectory(world.windlass.documents).load().sources[source].digest,
            "RUN_ID": str(redis.info("server")["run_id"]),
        }
        text = DATA.read_text()
        for word, value in said.items():
            text = text.replace(word, value)
        fill(redis, json.loads(text))
        assert redis.lrange("rq:queue:windlass", 0, -1) == [f"{source}-2".encode()]
        world.windlass.start_worker(fresh_redis=False)
        run = world.applied(third)
        assert run.event == EVENT
        until(
            lambda: redis.hget(f"rq:job:{source}-2", "status") == b"finished", show=lambda: world.windlass.log("worker")
        )
        until(lambda: redis.llen("rq:queue:windlass") == redis.llen(f"windlass:source:{source}:hints") == 0)
        until(lambda: len(set(redis.hmget(f"windlass:source:{source}", "done", "gen"))) == 1)
    assert (world.value("a"), world.value("b")) == ("2", "3")
