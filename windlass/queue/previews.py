"""Pull requests in the queue, whose plans are to be said: sources of another kind, each of one repository and number.

Level-triggered as all of them: one job waits, and looks at the pull request as it is then.
"""

from __future__ import annotations

import contextlib

import msgspec
from redis.asyncio import Redis

from windlass.queue.sources import Mark

_PREFIX = "preview_"
KEPT_SECONDS = 30 * 86400
"""What was told of a repository's pull requests is forgotten so long after the last of them was looked at."""


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an open pull request's plan was made of last, so that it is made anew when that changes.

    ``base`` by its short name, ``head`` a commit; ``conflicts``: it can't be merged as it is; ``verdict``: as the commit's status
    says it, "" while it isn't made.
    """

    base: str
    head: str
    applications: tuple[str, ...] = ()
    conflicts: bool = False
    verdict: str = ""


def preview_id(repository: str, number: int) -> str:
    """The queue's name. Names of repositories hold no underscore."""
    return f"{_PREFIX}{repository}_{number}"


def parse_preview(source: str) -> tuple[str, int] | None:
    """The repository and the number; None if it is the name of something else."""
    repository, _, number = source.removeprefix(_PREFIX).rpartition("_")
    return (repository, int(number)) if source.startswith(_PREFIX) and number.isdigit() else None


def mark(repository: str, number: int, reason: str) -> Mark:
    """What has a pull request looked at."""
    return Mark(preview_id(repository, number), "", "", reason, "")


def approved_key(source: str) -> str:
    """Redis' key of the commit for which a maintainer allowed a look at the cluster, of a pull request from a fork."""
    return f"windlass:{source}:approved"


def told_key(repository: str) -> str:
    """Redis' hash of a repository's open pull requests: number -> `Told`."""
    return f"windlass:previews:{repository}"


async def remember(redis: Redis, repository: str, number: int, told: Told) -> None:
    async with redis.pipeline(transaction=False) as pipeline:
        pipeline.hset(told_key(repository), str(number), msgspec.json.encode(told).decode())
        pipeline.expire(told_key(repository), KEPT_SECONDS)
        await pipeline.execute()


async def forget(redis: Redis, repository: str, number: int) -> None:
    """It is closed, or merged."""
    await redis.hdel(told_key(repository), str(number))


async def remembered(redis: Redis, repository: str) -> dict[int, Told]:
    """The pull requests that were open when they were looked at last. What nobody can read counts as not there."""
    found: dict[int, Told] = {}
    for number, told in (await redis.hgetall(told_key(repository))).items():
        with contextlib.suppress(ValueError):
            found[int(number)] = msgspec.json.decode(told, type=Told)
    return found
