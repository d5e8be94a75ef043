"""A worker process for tests: its one function writes when it began and ended, and sleeps as long as its source says."""

from __future__ import annotations

import asyncio
import sys

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from windlass.queue import LeaseKeeper
from workers.worker import WindlassWorker


async def main(url: str, drain: float) -> None:
    redis, connection = AsyncRedis.from_url(url), Redis.from_url(url)

    async def reconcile(job_id: str, source: str, generation: int, digest: str) -> str:
        await redis.rpush("began", job_id)
        await asyncio.sleep(float(await redis.get(f"sleep:{source}") or 0))
        await redis.rpush("ended", job_id)
        return "done"

    worker = WindlassWorker(
        "windlass",
        connection=connection,
        redis=redis,
        keeper=LeaseKeeper(redis, url, seconds=3),
        functions={"reconcile": reconcile},
        drain_seconds=drain,
    )
    await worker.run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
