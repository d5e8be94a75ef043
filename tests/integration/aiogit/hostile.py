"""A Git server that misbehaves: it answers as its test says, or passes on to the real ``git http-backend`` and spoils
that."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from workers.aiogit.pktline import Mark, encode_all

Handler = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]

RESULT = "application/x-git-upload-pack-result"
PROBE = "application/x-git-upload-pack-advertisement"
ADVERTISEMENT = encode_all(
    ["# service=git-upload-pack\n", Mark.FLUSH, "version 2\n", "agent=evil/1\n", "ls-refs\n", "fetch\n",
     "object-format=sha1\n", Mark.FLUSH]
)  # fmt: skip


class HostileServer:
    """``answer_fetch`` and ``answer_probe`` take over a kind of request; without them the real backend answers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.answer_fetch: Handler | None = None
        self.answer_probe: Handler | None = None
        self.version_2 = True
        self.requests: list[web.Request] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> HostileServer:
        application = web.Application(client_max_size=1 << 26)
        application.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        body = await request.read()
        if request.method == "GET" and self.answer_probe is not None:
            return await self.answer_probe(request, body)
        if b"command=fetch" in body and self.answer_fetch is not None:
            return await self.answer_fetch(request, body)
        return await self._backend(request, body)

    async def _backend(self, request: web.Request, body: bytes) -> web.Response:
        environment = {
            **os.environ,
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "PATH_INFO": request.path,
            "QUERY_STRING": request.query_string,
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "REMOTE_ADDR": "127.0.0.1",
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", "") if self.version_2 else "",
        }
        process = await asyncio.create_subprocess_exec(
            "git", "http-backend", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environment
        )
        out, _ = await process.communicate(body)
        head, _, content = out.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        return web.Response(status=int(headers.pop("Status", "200").split()[0]), headers=headers, body=content)


def packfile(pack: bytes) -> bytes:
    """A ``fetch`` answer that carries ``pack``."""
    pieces = [b"\x01" + pack[start : start + 60_000] for start in range(0, len(pack), 60_000)]
    return encode_all([b"packfile\n", *pieces, Mark.FLUSH])


def always(body: bytes, *, content_type: str = RESULT) -> Handler:
    async def answer(_: web.Request, __: bytes) -> web.StreamResponse:
        return web.Response(body=body, content_type=content_type)

    return answer


def endless(start: bytes, again: bytes, *, content_type: str = RESULT) -> Handler:
    """``start``, then ``again`` until the client goes."""

    async def answer(request: web.Request, _: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(request)
        await response.write(start)
        while True:
            await response.write(again)
            await asyncio.sleep(0)

    return answer


def silent(start: bytes = b"") -> Handler:
    """``start``, then nothing."""

    async def answer(request: web.Request, _: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": RESULT})
        await response.prepare(request)
        await response.write(start)
        await asyncio.sleep(3600)
        return response

    return answer
