"""`windlass delete APP`: the one way, beside a commit, by which an application's objects go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import click

from windlass import logs
from windlass.cli.shared import connect, no_application, redis_url
from windlass.documents.catalog import Catalog
from windlass.documents.types import Cluster
from windlass.errors import WindlassError
from windlass.feed import documents_of
from windlass.queue import LeaseKeeper, SourceQueue
from windlass.settings import Settings
from workers.context import Context
from workers.deletion import Deletion, Judged
from workers.directives import Phase
from workers.farewell import Hooked, delete, hooks_of


async def delete_application(
    settings: Settings, application: str, cluster: str | None, *, dry_run: bool, yes: bool, run_hooks: bool
) -> int:
    """Delete what the application owns in its cluster; the exit status."""
    logs.configure("warning", "console")
    async with working(settings) as context:
        access = await context.clusters.get(_cluster(context.catalog, settings, application, cluster))
        deletion = Deletion(context, application, access, click.echo)
        found = await deletion.look()
        hooked = await _hooks(deletion, context) if run_hooks else None
        _announce(deletion, found, hooked)
        if dry_run or not (yes or click.confirm("Delete them?" if found.going else "Forget it?")):
            return 0
        done = await delete(context, deletion, hooked, click.echo)
        click.echo(f"{application}: {_count(deletion, found)}")
        return 0 if done else 1


@asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[Context]:
    """What a run has in a worker, for one command."""
    async with connect(settings) as (redis, _, _):
        keeper = LeaseKeeper(redis, redis_url(settings), seconds=settings.lease_seconds)
        queue = SourceQueue(redis, queue_name=settings.queue, keeper=keeper)
        directory, feed = await documents_of(settings, redis)
        context = Context(
            settings,
            directory,
            redis=redis,
            queue=queue,
            leases=keeper,
            secret_key=settings.secret_key(),
            feed=feed,
        )
        keeper.start()
        try:
            yield context
        finally:
            keeper.close()
            await context.close()


def _cluster(catalog: Catalog, settings: Settings, application: str, cluster: str | None) -> Cluster:
    document = catalog.applications.get(application)
    name = cluster or (document.spec.destination.cluster if document else None)
    if name is None:
        raise WindlassError(f"{no_application(catalog, settings, application)}; say where it is with --cluster")
    if name not in catalog.clusters:
        raise WindlassError(f"there is no valid Cluster {name} in {settings.documents}")
    return catalog.clusters[name]


async def _hooks(deletion: Deletion, context: Context) -> Hooked | None:
    try:
        return await hooks_of(deletion, context)
    except WindlassError as error:
        message = (
            f"what {deletion.name} wants to run before and after can't be known ({error}): --no-hooks goes on without"
        )
        raise WindlassError(message) from error


def _announce(deletion: Deletion, found: Judged, hooked: Hooked | None) -> None:
    click.echo(f"{deletion.name} owns {len(found.going) + len(found.kept)} objects on {deletion.access.document.name}:")
    for run in hooked.runs(Phase.PRE_DELETE) if hooked else ():
        click.echo(f"  run first: {run.key}")
    for item in found.going:
        click.echo(f"  {item.key}")
    for member, reason in found.kept:
        click.echo(f"  stays: {member.key} ({reason})")
    for run in hooked.runs(Phase.POST_DELETE) if hooked else ():
        click.echo(f"  run last: {run.key}")
    if deletion.moved:
        click.echo(
            "Its document names another cluster now, and its hooks are for that one: none are run here.", err=True
        )
    elif deletion.document is not None:
        click.echo("Its document is still there: the next push or `windlass sync` creates them again.", err=True)
    else:
        click.echo("Its document is gone: no hooks are known, and Windlass itself deletes.", err=True)


def _count(deletion: Deletion, found: Judged) -> str:
    stays = f", {len(found.kept)} stay" if found.kept else ""
    failed = f", {deletion.failed} failed: the same command goes on" if deletion.failed else ""
    return f"{deletion.deleted} deleted{stays}{failed}"
