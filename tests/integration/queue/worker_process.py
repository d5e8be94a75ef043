"""A worker process for tests: its one function writes when it began and ended, and sleeps as long as its source says."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import TimeoutError as RedisTimeoutError

from windlass.queue import LeaseKeeper
from workers.worker import WindlassWorker


class _Forgetful(WindlassWorker):
    """Loses, if the test asks for it, Redis' answer to one transaction: the start of the first job."""

    @contextlib.asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Any]:
        async with super()._transaction() as pipeline:
            yield pipeline
        if await self._redis.delete("lose:start"):
            raise RedisTimeoutError("the answer is lost")


async def main(url: str, drain: float) -> None:
    redis, connection = AsyncRedis.from_url(url), Redis.from_url(url)

    async def reconcile(job_id: str, source: str, generation: int, digest: str) -> str:
        await redis.rpush("began", job_id)
        await asyncio.sleep(float(await redis.get(f"sleep:{source}") or 0))
        if await redis.decr(f"fail:{source}") >= 0:
            raise ValueError("as the test asked for")
        await redis.rpush("ended", job_id)
        return "done"

    async def service() -> None:
        if await redis.decr("fail:service") >= 0:
            raise ValueError("as the test asked for")
        await redis.set("service", "up")

    worker = _Forgetful(
        "windlass",
        connection=connection,
        redis=redis,
        keeper=LeaseKeeper(redis, url, seconds=3),
        functions={"reconcile": reconcile},
        services=[service],
        drain_seconds=drain,
    )
    await worker.run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
