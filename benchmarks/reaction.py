"""The raw limit at the same instant: a bare reaction to a webhook, by the git CLI and one warm server-side apply.

A forge goes on working after it has sent a webhook, on the same cores. Whoever reacts shares them with it, so the limit is
taken where Windlass stands: at the webhook of a push to a twin repository, delivered here instead.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from benchmarks.bare import BareCluster, git
from benchmarks.out import median

LONGEST_SECONDS = 60
LIMIT = "bench-limit"
"""The namespace of the bare applies."""


class Cost(NamedTuple):
    """Seconds: of `git fetch` since the webhook's arrival, and of the apply after it."""

    fetch: float
    apply: float


def typical(costs: Sequence[Cost]) -> Cost:
    """The median of each."""
    return Cost(median([cost.fetch for cost in costs]), median([cost.apply for cost in costs]))


class Reaction:
    """Listens for the twin repository's webhooks, and does for each the least that anyone must do."""

    def __init__(self, bare: BareCluster, url: str, mirror: Path) -> None:
        self._bare, self._url, self._mirror = bare, url, mirror
        self._arrivals: asyncio.Queue[float] = asyncio.Queue()
        self._runner: web.AppRunner

    async def __aenter__(self) -> Reaction:
        await git("clone", "-q", "--bare", self._url, str(self._mirror))
        application = web.Application()
        application.router.add_post("/", self._arrived)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def webhook(self) -> str:
        """Where the twin's webhook is to be delivered."""
        host, port = self._runner.addresses[0]
        return f"http://{host}:{port}/"

    async def cost(self, commit: str, value: str, *, rest: float = 0) -> Cost:
        """What it takes from the arrival of the webhook of ``commit``, or from ``rest`` seconds after it."""
        async with asyncio.timeout(LONGEST_SECONDS):
            started = await self._arrivals.get()
        if rest:
            await asyncio.sleep(rest)
            started = time.perf_counter()
        await git("fetch", "-q", "--no-tags", self._url, f"{commit}:refs/heads/main", cwd=self._mirror)
        fetched = time.perf_counter()
        return Cost(fetched - started, await self._bare.apply_config_map(LIMIT, "limit", {"value": value}))

    async def _arrived(self, _: web.Request) -> web.Response:
        self._arrivals.put_nowait(time.perf_counter())
        return web.Response(status=202)
