"""A service that takes deliveries, on a port, with a Redis: what the tests of intake send to, and what they look at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import yaml
from redis.asyncio import Redis

from service.follow import Documents
from tests.parts.windlass import application, cluster, repository
from tests.webhooks import Sample, signed
from windlass.documents.catalog import Catalog
from windlass.documents.directory import DocumentDirectory
from windlass.queue import SourceQueue

SECRET, OLD, OTHER = "the-current-secret", "the-one-before", "somebody-else's"
KEY = b"k" * 32
LIMIT = 256 * 1024
MANIFESTS = "http://git.example:3000/shop/manifests.git"
MAIN, TAG = "refs/heads/main", "refs/tags/v1.4.2"


class Intake:
    """A service on a port, its Redis and its documents."""

    def __init__(
        self, url: str, session: aiohttp.ClientSession, redis: Redis, documents: Documents, folder: Path
    ) -> None:
        self.url, self.session, self.redis, self.documents, self.folder = url, session, redis, documents, folder
        self.directory = DocumentDirectory(folder)
        self.queue = SourceQueue(redis)

    def write(self, *documents: dict[str, object]) -> Catalog:
        (self.folder / "documents.yaml").write_text(yaml.safe_dump_all(documents))
        catalog = self.directory.load()
        assert not catalog.errors
        self.documents.use(catalog)
        return catalog

    async def post(self, name: str, body: bytes, headers: Any) -> tuple[int, dict[str, Any]]:
        async with self.session.post(f"{self.url}/webhooks/{name}", data=body, headers=headers) as answer:
            content = await answer.read()
            return answer.status, orjson.loads(content) if answer.content_type == "application/json" else {}

    async def deliver(
        self, item: Sample, name: str = "shop", secret: str = SECRET, **fields: Any
    ) -> tuple[int, dict[str, Any]]:
        """Sign and send a documented delivery, with these fields of the body changed."""
        body = json.dumps(item.body | fields).encode()
        return await self.post(name, body, signed(item, secret.encode(), body))

    async def jobs(self) -> list[str]:
        return [raw.decode() for raw in await self.redis.lrange("rq:queue:windlass", 0, -1)]

    async def keys(self) -> set[bytes]:
        return set(await self.redis.keys("*"))


def shop(
    url: str = MANIFESTS, forge: str = "gitea", name: str = "shop", *, endpoint: str | None = None, secrets: Any = None
) -> dict[str, object]:
    webhook = {
        "secrets": [{"env": env} for env in secrets or ("SECRET", "OLD")],
        **({"name": endpoint} if endpoint else {}),
    }
    return repository(name, url, forge=forge, webhook=webhook)


def documents(*repositories: dict[str, object], branches: tuple[str, ...] = ("main",)) -> list[dict[str, object]]:
    """A cluster, the repositories, and on each an application for every branch and for the tag of the samples."""
    names = [str(document["metadata"]["name"]) for document in repositories]  # type: ignore[index]
    apps = [
        application(f"{name}-{branch}", repository=name, branch=branch, namespace="x")
        for name in names
        for branch in branches
    ]
    tags = [application(f"{name}-tag", repository=name, namespace="x") for name in names]
    for document, name in zip(tags, names, strict=True):
        document["spec"]["sources"] = [{"repository": name, "tag": "v1.4.2"}]  # type: ignore[index]
    return [cluster("local", "/nowhere"), *repositories, *apps, *tags]
