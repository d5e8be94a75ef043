"""`windlass plan`: have a pull request looked at again, or, from a fork, at the cluster."""

from __future__ import annotations

import asyncio
import time
import uuid

import click

from windlass.cli.shared import connect, load_settings
from windlass.errors import PermanentError
from windlass.queue import previews
from windlass.queue.seal import approvals

APPROVED_SECONDS = 7 * 86400


@click.command()
@click.argument("repository")
@click.argument("number", type=click.IntRange(min=1))
@click.option("--approve", default="", metavar="COMMIT", help="The commit of a fork that you have read, in full.")
def plan(repository: str, number: int, approve: str) -> None:
    """Say again, on pull request NUMBER of REPOSITORY, what merging it would change.

    What comes from a fork is only rendered. With --approve, that very commit is also compared with the cluster.
    """
    raise SystemExit(asyncio.run(_plan(repository, number, approve)))


async def _plan(name: str, number: int, approve: str) -> int:
    from workers.aiogit.address import is_object_id

    if approve and not is_object_id(approve):
        raise PermanentError(f"{approve[:80]}: expected a whole commit id")
    settings = load_settings()
    async with connect(settings) as (redis, queue, catalog):
        document = catalog.repositories.get(name)
        if document is None or document.spec.pull_requests is None:
            raise PermanentError(f"no valid Repository {name} with pullRequests")
        mark, event = previews.mark(name, number, "windlass plan"), uuid.uuid4().hex
        if approve:
            at = previews.approved_key(mark.source)
            sealed = approvals(settings.secret_key()).sealed(at, approve.encode())
            await redis.set(at, sealed, ex=APPROVED_SECONDS)
        (marked,) = await queue.mark([mark], event=event, delivery=event, received_at=time.time())
        click.echo(f"{name} #{number}: {marked.outcome}")
        return 0
