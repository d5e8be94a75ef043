"""`windlass deploy`: push mode. What Git or a folder has, with a new image, applied from here; and its rollout, followed."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from windlass.cli.shared import application_of, connect, load_settings
from windlass.errors import PermanentError

if TYPE_CHECKING:
    from windlass.documents.types import Application
    from windlass.settings import Settings
    from workers.application import Outcome
    from workers.context import Context
    from workers.deploy import Waits
    from workers.desired import Instead, SourceAt
    from workers.differences import Compared
    from workers.kube.keys import ObjectKey


class Ways(NamedTuple):
    """What both kinds are asked."""

    images: tuple[str, ...]
    dry_run: bool
    as_json: bool


@click.command()
@click.option("--application", help="Whose manifests; or")
@click.option(
    "--path", type=click.Path(path_type=Path, file_okay=False), help="a folder of them, without any document."
)
@click.option(
    "--image", "images", multiple=True, help="With a tag or a digest: registry.example/shop/web:1.2.3. May be repeated."
)
@click.option("--name", help="With --path: what owns the objects; the folder's name by default.")
@click.option("--cluster", help="With --path: a Cluster document; without it, the current kubeconfig's")
@click.option("--context", help="context, or this one.")
@click.option("--namespace", default="default", show_default=True, help="With --path: of objects that name none.")
@click.option("--timeout", help="With --path: how long the rollout may take, such as 5m.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--force", is_flag=True, help="Also an application that follows Git by itself.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def deploy(
    application: str | None,
    path: Path | None,
    images: tuple[str, ...],
    dry_run: bool,
    force: bool,
    output: str,
    **options: str | None,
) -> None:
    """Apply an application with an image in place of the one that Git names, or a folder; and follow the rollout.

    Exits with 0 once everything is healthy, 1 if not. Git is not changed: an application that follows it by itself
    (`sync.automatic`, the default) is refused, since its next run would undo this; `--force` does it anyway. What a folder no
    longer holds is deleted, if it was deployed under the same name.
    """
    settings, ways = load_settings(), Ways(images, dry_run, output == "json")
    if (application is None) == (path is None):
        raise click.UsageError("expected exactly one of --application and --path")
    if path is not None:
        if force:
            raise click.UsageError("--force goes with --application")
        raise SystemExit(asyncio.run(_folder(settings, path, ways, options)))
    given = [name for name, value in options.items() if value and (name, value) != ("namespace", "default")]
    if not images or given:
        raise click.UsageError(f"--{given[0]} goes with --path" if given else "--application needs --image")
    assert application is not None
    raise SystemExit(asyncio.run(_application(settings, application, ways, force)))


async def _application(settings: Settings, name: str, ways: Ways, force: bool) -> int:
    from windlass import logs
    from windlass.cli.remove import working
    from workers.differences import wanted_sources

    logs.configure("error", "console")
    async with working(settings) as context:
        application = application_of(context.catalog, settings, name)
        _judge(application, force)
        return await _deploy(context, application, await wanted_sources(context, application), ways)


async def require_deployable(settings: Settings, name: str, *, force: bool) -> None:
    """May the application be pushed to? For who has work to do before.

    :raises WindlassError: there is no such application, or it follows Git by itself.
    """
    async with connect(settings) as (_, _, catalog):
        _judge(application_of(catalog, settings, name), force)


def _judge(application: Application, force: bool) -> None:
    if application.spec.sync.automatic and not force:
        raise PermanentError(
            f"{application.name} follows Git by itself, which would undo this: commit the image there (or let a Promotion do "
            "it), set sync.automatic: false, or say --force"
        )


async def _folder(settings: Settings, path: Path, ways: Ways, options: Mapping[str, str | None]) -> int:
    from windlass import logs
    from windlass.cli.folder import Asked, folder

    logs.configure("critical", "console")  # that there are no documents is no error here
    asked = Asked(
        path,
        options["name"],
        options["cluster"],
        options["context"],
        options["namespace"] or "default",
        options["timeout"],
    )
    async with folder(settings, asked) as opened:
        return await _deploy(opened.context, opened.application, opened.sources, ways)


async def _deploy(context: Context, application: Application, sources: Sequence[SourceAt], ways: Ways) -> int:
    from workers.deploy import with_images
    from workers.differences import Comparison, looking_at

    access = await context.clusters.get(context.catalog.clusters[application.spec.destination.cluster])
    instead = await with_images(context, access, application, sources, ways.images)
    comparison = Comparison(context, looking_at(access), application, instead.rendering)
    planned = await comparison.compare(instead.sources)
    if not ways.as_json:
        _show(planned)
    broken = [one for one in planned.differences if one.status == "error"]
    if broken or ways.dry_run:
        return _tell(ways.as_json, planned, "refused" if broken else "planned", 1 if broken else 0)
    return await _go(context, application, instead, planned, ways)


async def _go(context: Context, application: Application, instead: Instead, planned: Compared, ways: Ways) -> int:
    from workers.deploy import Rollout, deploy

    started, event = time.monotonic(), " ".join(("deploy", *ways.images))
    outcome: Outcome = await deploy(context, application, instead, event)
    while outcome.retry_in is not None and outcome.phase == "Waiting":
        await asyncio.sleep(outcome.retry_in)
        outcome = await deploy(context, application, instead, event)
    if outcome.phase != "Synced":
        return _tell(ways.as_json, planned, outcome.phase, 1, errors=list(outcome.errors))
    access = await context.clusters.get(context.catalog.clusters[application.spec.destination.cluster])
    rollout = Rollout(context, access, application, instead)
    waits = await rollout.follow(_silent if ways.as_json else _progress)
    seconds = round(time.monotonic() - started, 3)
    if waits:
        return _tell(ways.as_json, planned, "Degraded", 1, errors=[_line(one) for one in waits], seconds=seconds)
    return _tell(ways.as_json, planned, "Healthy", 0, seconds=seconds)


def _show(planned: Compared) -> None:
    for one in planned.differences:
        click.echo(f"# {one.object}: {one.status}{': ' + one.message if one.message else ''}")
        if one.text:
            click.echo(one.text)


def _progress(waits: Mapping[ObjectKey, str]) -> None:
    for key, why in list(waits.items())[:10]:
        click.echo(f"… {key}: {why}", err=True)


def _silent(_: Mapping[ObjectKey, str]) -> None:
    """The result says it."""


def _line(one: Waits) -> str:
    return f"{one.key}: {one.why}"


def _tell(as_json: bool, planned: Compared, result: str, status: int, **more: Any) -> int:
    """The last line, or the whole as JSON; returns the exit status."""
    changed = [{"object": one.object, "status": one.status} for one in planned.differences]
    if as_json:
        import orjson

        document = {"result": result, "revision": planned.revision, "changes": changed, **more}
        click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))
        return status
    for error in more.get("errors", []):
        click.echo(f"  {error}", err=True)
    took = f" after {more['seconds']:.1f} s" if "seconds" in more else ""
    click.echo(f"{result}{took}: {len(changed)} objects differ at {planned.revision[:10]}", file=sys.stderr)
    return status
