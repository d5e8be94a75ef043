"""What no document names any more leaves Redis after a week, on a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from redis.asyncio import Redis

from tests.parts.windlass import application, cluster, repository
from windlass import state
from windlass.documents.directory import DocumentDirectory
from windlass.documents.types import source_id
from windlass.queue import LeaseKeeper, SourceQueue
from windlass.settings import Settings
from workers.context import Context
from workers.inventory import Claims, refused_by
from workers.tidying import KEEP_SECONDS, Tidier

pytestmark = pytest.mark.integration

SHOP, OLD = source_id("shop", "refs/heads/main"), source_id("old", "refs/heads/main")


@pytest.fixture
async def context(tmp_path: Path, redis_url: str) -> AsyncIterator[Context]:
    """One application, `shop`."""
    folder = tmp_path / "documents"
    folder.mkdir()
    documents = [
        repository("shop", "https://x/shop"),
        cluster("local", "/nowhere"),
        application("shop", repository="shop"),
    ]
    (folder / "all.yaml").write_text(yaml.safe_dump_all(documents))
    settings = Settings.from_env({"WINDLASS_DOCUMENTS": str(folder), "WINDLASS_DATA": str(tmp_path)})
    redis = Redis.from_url(redis_url)
    keeper = LeaseKeeper(redis, redis_url)
    queue = SourceQueue(redis, keeper=keeper)
    made = Context(settings, DocumentDirectory(folder), redis=redis, queue=queue, leases=keeper, secret_key=b"k" * 32)
    yield made
    await made.close()
    keeper.close()
    await redis.aclose()


async def test_a_source_and_an_application_without_a_document_get_a_week(context: Context) -> None:
    redis = context.redis
    for source, name in ((SHOP, "shop"), (OLD, "old")):
        await redis.hset(f"windlass:source:{source}", "gen", 1)
        await redis.sadd(f"windlass:source:{source}:dirty", name)
        await redis.hset(state.application_key(name), "phase", "Synced")
        await redis.lpush(state.history_key(name), "{}")
    await Tidier(context).tidy()
    gone = [
        f"windlass:source:{OLD}",
        f"windlass:source:{OLD}:dirty",
        state.application_key("old"),
        state.history_key("old"),
    ]
    assert all([0 < await redis.ttl(key) <= KEEP_SECONDS for key in gone])
    assert [await redis.ttl(key.replace("old", "shop")) for key in gone if "source" not in key] == [-1, -1]
    assert await redis.ttl(f"windlass:source:{SHOP}") == -1


async def test_what_is_named_again_is_kept(context: Context) -> None:
    await context.redis.hset(state.application_key("shop"), "phase", "Synced")
    await context.redis.expire(state.application_key("shop"), 100)
    await Tidier(context).tidy()
    assert await context.redis.ttl(state.application_key("shop")) == -1


async def test_claims_go_with_the_last_that_is_known_of_their_holder(context: Context) -> None:
    redis, key = context.redis, state.claims_key("local")
    await redis.hset(key, mapping={"ConfigMap/x/a": "shop", "ConfigMap/x/b": "old", "ConfigMap/x/c": "leaving"})
    await redis.hset(state.application_key("leaving"), "phase", "Synced")
    await Tidier(context).tidy()
    assert await redis.hgetall(key) == {b"ConfigMap/x/a": b"shop", b"ConfigMap/x/c": b"leaving"}


async def test_who_was_refused_an_object_is_told_once_and_only_about_that(context: Context) -> None:
    told: list[str] = []

    async def wake(names: object) -> None:
        told.append(str(names))

    def claims(name: str) -> Claims:
        return Claims(context.redis, "local", name, yielding=(), wake=wake)

    shop, other = claims("shop"), claims("other")
    assert await shop.take(["ConfigMap/x/a", "ConfigMap/x/b"]) == {}
    await context.redis.hset(state.objects_key("shop"), mapping={"ConfigMap/x/a": "h - f", "ConfigMap/x/b": "h - f"})
    assert await other.take(["ConfigMap/x/a"]) == {"ConfigMap/x/a": "shop"}
    await shop.release(["ConfigMap/x/b"])
    assert told == []
    await shop.release(["ConfigMap/x/a"])
    assert told == ["{'other'}"]
    assert await refused_by(context.redis, "shop") == set()
