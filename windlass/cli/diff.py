"""`windlass diff APP`: what a run would change in the cluster now, by dry runs. Writes nothing, and waits for nobody."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from windlass.cli.shared import application_of, connect, load_settings, redis_url
from windlass.errors import WindlassError

if TYPE_CHECKING:
    from windlass.settings import Settings
    from workers.differences import Compared

EQUAL, DIFFERENT, FAILED = 0, 1, 2


@click.command()
@click.argument("application")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def diff(application: str, output: str) -> None:
    """Show how APPLICATION's objects in the cluster differ from Git, as its next run would write them.

    Exits with 0 if nothing differs, 1 if something does, 2 after an error, as `kubectl diff` does.
    """
    try:
        compared = asyncio.run(_compare(load_settings(), application))
    except WindlassError as error:  # 1 would say that something differs
        click.echo(f"windlass: {error}", err=True)
        sys.exit(FAILED)
    (_as_json if output == "json" else _as_text)(application, compared)
    statuses = {one.status for one in compared.differences}
    sys.exit(FAILED if "error" in statuses else DIFFERENT if statuses else EQUAL)


async def _compare(settings: Settings, name: str) -> Compared:
    from windlass.feed import documents_of
    from windlass.logs import configure
    from windlass.queue import LeaseKeeper
    from workers.context import Context
    from workers.differences import Comparison, looking_at, wanted_sources

    configure("error", settings.log_format)
    async with connect(settings) as (redis, queue, _):
        keeper = LeaseKeeper(redis, redis_url(settings))  # never started: nothing is held
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
        try:
            application = application_of(context.catalog, settings, name)
            document = context.catalog.clusters[application.spec.destination.cluster]
            access = looking_at(await context.clusters.get(document))
            sources = await wanted_sources(context, application)
            return await Comparison(context, access, application).compare(sources)
        finally:
            await context.close()


def _as_text(application: str, compared: Compared) -> None:
    for one in compared.differences:
        place = f" ({one.file})" if one.file else ""
        if one.status == "error":
            click.echo(f"{one.object}: {one.message}", err=True)
        elif one.status == "pruned":
            click.echo(f"# {one.object}: no longer in Git, would be deleted")
        else:
            what = "is missing, would be created" if one.status == "missing" else "differs"
            click.echo(f"# {one.object}: {what}{place}\n{one.text}")
    count = len(compared.differences)
    click.echo(
        f"{application} at {compared.revision[:10]}: {compared.same} objects are equal, {count} are not", err=True
    )


def _as_json(application: str, compared: Compared) -> None:
    import orjson

    objects = [{name: value for name, value in one._asdict().items() if value} for one in compared.differences]
    document = {
        "application": application,
        "revision": compared.revision,
        "equal": compared.same,
        "differences": objects,
    }
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))
