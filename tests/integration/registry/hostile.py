"""A registry that answers as a test says, and remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.parts.process import free_port


class Hostile:
    """``answers``: by path, with its query or without."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes, dict[str, str]]] = {}
        self.asked: list[web.Request] = []
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def says(
        self, path: str, value: Any = None, *, status: int = 200, raw: bytes | None = None, **headers: str
    ) -> None:
        content = json.dumps(value).encode() if raw is None else raw
        self.answers[path] = status, content, {name.replace("_", "-"): text for name, text in headers.items()}

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        known = self.answers.get(request.path_qs) or self.answers.get(request.path)
        status, content, headers = known or (404, b"", {})
        return web.Response(status=status, body=content, headers=headers)


@asynccontextmanager
async def serving() -> AsyncIterator[Hostile]:
    """One on a loopback port."""
    made, app = Hostile(), web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", made.port).start()
    yield made
    await runner.cleanup()
