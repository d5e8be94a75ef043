"""The poll as a worker runs it: a real Redis and a real registry; what it finds is queued as a webhook's event is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from redis.asyncio import Redis

from tests.integration.registry.catalog import manifests, promotion, registry
from tests.integration.registry.hostile import serving
from tests.integration.test_polling import until
from tests.parts.registry import Registry
from windlass.documents.directory import DocumentDirectory
from windlass.queue import LeaseKeeper, SourceQueue
from windlass.queue.promotions import Image, seal_of
from windlass.settings import Settings
from windlass.wire import text
from workers.context import Context
from workers.registry import poller
from workers.registry.poller import RegistryPoller

pytestmark = pytest.mark.integration

SEMVER = {"order": "semver", "range": ">=1.0.0"}


class Bench:
    """Documents, a Redis, and the pollers of one or more workers; no worker takes the jobs, so that they can be seen."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder, self.url = folder / "documents", redis_url
        self.folder.mkdir()
        self.redis = Redis.from_url(redis_url)
        self.contexts: list[Context] = []
        self._tasks: list[asyncio.Task[None]] = []

    def write(self, *documents: dict[str, Any]) -> None:
        (self.folder / "all.yaml").write_text(yaml.safe_dump_all([manifests(), *documents]))

    def start(self) -> None:
        """One more worker's poller."""
        folder = str(self.folder.parent / f"data-{len(self.contexts)}")
        environment = {"REDIS_URL": self.url, "WINDLASS_DOCUMENTS": str(self.folder), "WINDLASS_DATA": folder}
        settings, keeper = Settings.from_env(environment), LeaseKeeper(self.redis, self.url)
        context = Context(
            settings,
            DocumentDirectory(settings.documents),
            redis=self.redis,
            queue=SourceQueue(self.redis, keeper=keeper),
            leases=keeper,
            secret_key=b"k" * 32,
        )
        assert context.catalog.errors == ()
        self.contexts.append(context)
        self._tasks.append(asyncio.create_task(RegistryPoller(context).run()))

    async def jobs(self) -> list[str]:
        return [text(raw) for raw in await self.redis.lrange("rq:queue:windlass", 0, -1)]

    async def images(self, name: str = "web") -> list[str]:
        """The identities of the images that this promotion was told of."""
        hints = await self.redis.lrange(f"windlass:source:promotion_{name}:hints", 0, -1)
        seal = seal_of(b"k" * 32)
        words = [seal.opened(name, msgspec.json.decode(hint)["before"].encode()) for hint in hints]
        return [msgspec.json.decode(word or b"not ours", type=Image).identity for word in words]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for context in self.contexts:
            await context.close()
        await self.redis.aclose()


@pytest.fixture
async def bench(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(poller, "TICK_SECONDS", 0.05)
    made = Bench(tmp_path, redis_url)
    yield made
    await made.close()


async def test_a_new_tag_is_queued_for_its_promotion_as_a_webhook_would(
    bench: Bench, image_registry: Registry, unique: str
) -> None:
    digest = image_registry.push(unique, "1.0.0")
    bench.write(promotion(f"{image_registry.host}/{unique}", SEMVER), registry(image_registry.host, image_registry.url))
    bench.start()
    await until(bench.jobs)
    assert await bench.jobs() == ["promotion_web-1"]
    job = await bench.redis.hgetall("rq:job:promotion_web-1")
    assert job[b"description"] == b"promote promotion_web (image 1.0.0)"
    assert await bench.images() == [f"1.0.0@{digest}"]
    asked = len(image_registry.requests())
    await until(lambda: len(image_registry.requests()) >= asked + 4)
    assert await bench.images() == [f"1.0.0@{digest}"], "the same is said once"
    newer = image_registry.push(unique, "1.1.0")
    await until(_told(bench, 2))
    assert await bench.images() == [f"1.0.0@{digest}", f"1.1.0@{newer}"]
    assert await bench.jobs() == ["promotion_web-1"], "one job waits"


async def test_several_workers_share_the_polls(bench: Bench, image_registry: Registry, unique: str) -> None:
    image_registry.push(unique, "1.0.0")
    bench.write(promotion(f"{image_registry.host}/{unique}", SEMVER), registry(image_registry.host, image_registry.url))

    def looks() -> int:
        return sum(unique in line and "tags/list" in line for line in image_registry.requests())

    started = time.monotonic()
    for _ in range(3):
        bench.start()
    await until(lambda: looks() >= 3)
    assert looks() <= (time.monotonic() - started) / 0.8 + 1
    assert len(await bench.images()) == 1


async def test_a_registry_that_is_down_is_asked_again_and_nothing_is_lost(
    bench: Bench, tmp_path: Path, unique: str
) -> None:
    server = Registry(tmp_path / "registry")
    with server:
        server.push(unique, "1.0.0")
        bench.write(promotion(f"{server.host}/{unique}", SEMVER), registry(server.host, server.url))
        bench.start()
        await until(_told(bench, 1))
    (before,) = await bench.images()
    await until(_longer_than(bench, f"windlass:poll:registry:{server.host}/{unique}", 1500))
    with server:
        newer = server.push(unique, "1.1.0")
        await until(_told(bench, 2), 60)
        assert await bench.images() == [before, f"1.1.0@{newer}"]


async def test_a_registry_that_asks_for_patience_is_left_alone_by_all(bench: Bench, unique: str) -> None:
    async with serving() as limited:
        limited.says(f"/v2/{unique}/tags/list", status=429, Retry_After="600")
        bench.write(promotion(f"registry.example/{unique}", SEMVER), registry("registry.example", limited.url))
        bench.start()
        await until(_longer_than(bench, f"windlass:poll:registry:registry.example/{unique}", 500_000))
        assert len(limited.asked) == 1


async def test_only_images_of_promotions_that_the_document_names_are_polled(bench: Bench) -> None:
    bench.write(
        promotion("registry.example/shop/web", SEMVER),
        promotion("registry.example/shop/web", {"order": "any"}, "other"),
        promotion("registry.example/bank/web", SEMVER, "bank"),
        promotion("docker.io/library/nginx", SEMVER, "nginx"),
        registry("registry.example", "http://127.0.0.1:1", images=["registry.example/shop/*"], poll="1h"),
    )
    bench.start()
    found = poller.polled(bench.contexts[0].catalog)
    assert {image: len(one.follows) for image, one in found.items()} == {"registry.example/shop/web": 2}


def _told(bench: Bench, times: int) -> Any:
    async def told() -> bool:
        return len(await bench.images()) == times

    return told


def _longer_than(bench: Bench, key: str, milliseconds: int) -> Any:
    async def longer() -> bool:
        return bool(await bench.redis.pttl(key) > milliseconds)

    return longer
