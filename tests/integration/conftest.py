"""What several integration tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from service.app import connect_redis, listening, make_app
from service.follow import Documents
from tests.integration.intake import KEY, LIMIT, OLD, OTHER, SECRET, Intake
from windlass.queue import SourceQueue
from windlass.secrets import Secrets


@pytest.fixture
async def intake(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Intake]:
    for name, value in (("SECRET", SECRET), ("OLD", OLD), ("OTHER", OTHER)):
        monkeypatch.setenv(name, value)
    redis, documents = connect_redis(redis_url), Documents()
    app = make_app(documents, SourceQueue(redis), Secrets(), redis, key=KEY, body_limit=LIMIT)
    async with listening(app, "127.0.0.1", 0) as port, aiohttp.ClientSession() as session:
        yield Intake(f"http://127.0.0.1:{port}", session, redis, documents, tmp_path)
    await redis.aclose()
