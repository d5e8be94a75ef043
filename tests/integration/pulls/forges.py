"""A forge's API over HTTP: answers as its vendor documents them, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
from aiohttp import web

from tests.parts.process import free_port
from windlass.forges.pulls import Credential, Place, PullRequests, pull_requests

TOKEN = "t0ken-of-the-test"


class Asked(NamedTuple):
    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]


class Forge:
    """``answers``: by "METHOD /path" what is answered, in turn; the last one again and again."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, Any]]] = {}
        self.asked: list[Asked] = []
        self.headers: dict[str, str] = {}
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def says(self, call: str, *values: Any, status: int = 200) -> None:
        self.answers[call] = [(status, value) for value in values]

    def calls(self) -> list[str]:
        return [f"{asked.method} {asked.path}" for asked in self.asked]

    def body(self, call: str) -> Any:
        """What was sent with the last call of this kind."""
        return next(a.body for a in reversed(self.asked) if f"{a.method} {a.path}" == call)

    async def handle(self, request: web.Request) -> web.Response:
        path = request.rel_url.raw_path
        body = await request.json() if request.can_read_body else None
        self.asked.append(Asked(request.method, path, dict(request.query), body, dict(request.headers)))
        known = self.answers.get(f"{request.method} {path}")
        if not known:
            return web.json_response({"message": f"Not Found {TOKEN}"}, status=404)
        status, value = known.pop(0) if len(known) > 1 else known[0]
        return web.json_response(value, status=status, headers=self.headers)


@asynccontextmanager
async def serving(
    name: str, repository: str, *, api: str = "", username: str | None = None
) -> AsyncIterator[tuple[Forge, PullRequests]]:
    """A forge, and the pull requests of ``repository`` on it; ``api`` is the API's path where it isn't the usual one."""
    forge, app = Forge(), web.Application()
    app.router.add_route("*", "/{path:.*}", forge.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", forge.port).start()
    try:
        async with aiohttp.ClientSession() as session:
            url = repository if repository.startswith("http") else f"{forge.url}/{repository}"
            place = Place(url, f"{forge.url}{api}" if api else None)
            yield forge, pull_requests(session, name, place, Credential(TOKEN, username))
    finally:
        await runner.cleanup()
