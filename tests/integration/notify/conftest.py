"""A worker's notifications on a real Redis, and receivers over HTTP that answer as their vendors document it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from aiohttp import web
from redis.asyncio import Redis

from tests.parts.process import free_port
from tests.parts.windlass import API_VERSION, application, cluster
from windlass.documents.directory import DocumentDirectory
from windlass.documents.types import Application
from windlass.queue import LeaseKeeper, SourceQueue
from windlass.queue.notices import Notices, Standing
from windlass.settings import Settings
from workers.context import Context
from workers.notify.sender import Sender

SECRET = "T000/B000/the-secret-part"
REVISION = "a" * 40


class Got(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes
    at: float


class Receiver:
    """``answers``: by path (status, headers, text) in turn, the last one again and again; 200 for others."""

    def __init__(self) -> None:
        self.port, self.got, self.slow = free_port(), list[Got](), asyncio.Event()
        self.answers: dict[str, list[tuple[int, dict[str, str], str]]] = {}
        self.slow.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def says(self, path: str, *answers: tuple[int, dict[str, str], str]) -> None:
        self.answers[path] = list(answers)

    async def handle(self, request: web.Request) -> web.Response:
        self.got.append(Got(request.path, dict(request.headers), await request.read(), time.monotonic()))
        if "slow" in request.path:
            await self.slow.wait()
        known = self.answers.get(request.path) or [(200, {}, "ok")]
        status, headers, text = known.pop(0) if len(known) > 1 else known[0]
        return web.Response(status=status, headers=headers, text=text)

    def to(self, path: str) -> list[Got]:
        return [one for one in self.got if one.path.startswith(path)]


class Told:
    """A worker's context with these documents, and its sender."""

    def __init__(self, context: Context, folder: Path, receiver: Receiver, patch: pytest.MonkeyPatch) -> None:
        self.context, self.folder, self.receiver, self._patch = context, folder, receiver, patch
        self.notices, self._sending = Notices(context.redis), list[asyncio.Task[None]]()

    def write(self, *rules: dict[str, Any], forge: str = "gitea") -> None:
        spec: dict[str, Any] = {"url": f"{self.receiver.url}/shop/manifests.git", "forge": forge}
        if forge == "github":
            spec["status"] = {"token": {"env": "TOKEN"}, "api": f"{self.receiver.url}/api"}
        documents = [
            cluster("eu", "/nowhere"),
            document("Repository", "manifests", spec),
            application("shop", repository="manifests", namespace="shop", cluster="eu"),
            application("other", repository="manifests", namespace="other", cluster="eu"),
            *rules,
        ]
        (self.folder / "all.yaml").write_text(yaml.safe_dump_all(documents))
        self.context.catalog = self.context.directory.load()
        assert not self.context.catalog.errors

    def rule(self, kind: str, name: str = "", path: str = "", to: Any = None, **spec: Any) -> dict[str, Any]:
        """A rule whose receiver is at this path; its address is a secret of the environment."""
        name, variable = name or kind.lower(), f"URL_{(name or kind).upper().replace('-', '_')}"
        self._patch.setenv(variable, f"{self.receiver.url}{path or f'/{name}'}/{SECRET}")
        hook = {"url": {"env": variable}, "private": True} | (to or {})
        return document("Notification", name, {"to": {kind: hook}, "events": ["healthy", "degraded"], **spec})

    def app(self, name: str = "shop") -> Application:
        return self.context.catalog.applications[name]

    def send(self) -> None:
        """Another worker's sender begins."""
        self._sending.append(asyncio.create_task(Sender(self.context).run()))

    async def until(self, holds: Any) -> None:
        async with asyncio.timeout(30):
            while not (await holds() if asyncio.iscoroutinefunction(holds) else holds()):
                await asyncio.sleep(0.02)

    async def settled(self, rule: str, count: int = 1) -> Standing:
        """When so many notices of the rule were told or given up, and none waits."""

        async def done() -> bool:
            one = await self.standing(rule)
            return one.told + one.given_up >= count and not one.waiting

        await self.until(done)
        return await self.standing(rule)

    async def standing(self, rule: str) -> Standing:
        return (await self.notices.standings([rule]))[0]

    async def close(self) -> None:
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)


def document(kind: str, name: str, spec: Any) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made, app = Receiver(), web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", made.port).start()
    yield made
    await runner.cleanup()


@pytest.fixture
async def told(
    redis_url: str, tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Told]:
    folder = tmp_path / "documents"
    folder.mkdir()
    redis = Redis.from_url(redis_url)
    keeper = LeaseKeeper(redis, redis_url, seconds=6.0)
    queue = SourceQueue(redis, keeper=keeper)
    settings = Settings.from_env({**os.environ, "WINDLASS_DATA": str(tmp_path / "data"), "REDIS_URL": redis_url})
    directory = DocumentDirectory(folder)
    context = Context(settings, directory, redis=redis, queue=queue, leases=keeper, secret_key=b"k" * 32)
    made = Told(context, folder, receiver, monkeypatch)
    yield made
    await made.close()
    await context.close()
    await asyncio.to_thread(keeper.close)
    await redis.aclose()
