"""`windlass deploy`: push mode. What Git has, with a new image, applied from here; and its rollout, until it is healthy."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from windlass.cli.shared import application_of, load_settings
from windlass.errors import PermanentError

if TYPE_CHECKING:
    from windlass.documents.types import Application
    from windlass.settings import Settings
    from workers.application import Outcome
    from workers.context import Context
    from workers.deploy import Waits
    from workers.desired import Instead
    from workers.differences import Compared
    from workers.kube.keys import ObjectKey


@click.command()
@click.option("--application", required=True, help="Whose manifests.")
@click.option("--image", required=True, help="With a tag or a digest, such as registry.example/shop/web:1.2.3.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--force", is_flag=True, help="Also an application that follows Git by itself.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def deploy(application: str, image: str, dry_run: bool, force: bool, output: str) -> None:
    """Apply APPLICATION with IMAGE in place of the one that Git names, and follow the rollout.

    Exits with 0 once everything is healthy, 1 if not. Git is not changed: an application that follows it by itself
    (`sync.automatic`, the default) is refused, since its next run would undo this; `--force` does it anyway.
    """
    raise SystemExit(asyncio.run(_deploy(load_settings(), application, image, dry_run, force, output == "json")))


async def _deploy(settings: Settings, name: str, image: str, dry_run: bool, force: bool, as_json: bool) -> int:
    from windlass import logs
    from windlass.cli.remove import working
    from workers.deploy import with_image
    from workers.differences import Comparison, looking_at, wanted_sources

    logs.configure("error", "console")
    async with working(settings) as context:
        application = application_of(context.catalog, settings, name)
        if application.spec.sync.automatic and not force:
            raise PermanentError(
                f"{name} follows Git by itself, which would undo this: commit the image there (or let a Promotion do it), "
                "set sync.automatic: false, or say --force"
            )
        access = await context.clusters.get(context.catalog.clusters[application.spec.destination.cluster])
        instead = await with_image(context, access, application, await wanted_sources(context, application), image)
        comparison = Comparison(context, looking_at(access), application, instead.rendering)
        planned = await comparison.compare(instead.sources)
        if not as_json:
            _show(planned)
        broken = [one for one in planned.differences if one.status == "error"]
        if broken or dry_run:
            return _tell(as_json, planned, "refused" if broken else "planned", 1 if broken else 0)
        return await _go(context, application, instead, planned, image, as_json)


async def _go(
    context: Context, application: Application, instead: Instead, planned: Compared, image: str, as_json: bool
) -> int:
    from workers.deploy import Rollout, deploy

    started = time.monotonic()
    outcome: Outcome = await deploy(context, application, instead, f"deploy {image}")
    while outcome.retry_in is not None and outcome.phase == "Waiting":
        await asyncio.sleep(outcome.retry_in)
        outcome = await deploy(context, application, instead, f"deploy {image}")
    if outcome.phase != "Synced":
        return _tell(as_json, planned, outcome.phase, 1, errors=list(outcome.errors))
    access = await context.clusters.get(context.catalog.clusters[application.spec.destination.cluster])
    rollout = Rollout(context, access, application, instead)
    waits = await rollout.follow(_silent if as_json else _progress)
    seconds = round(time.monotonic() - started, 3)
    if waits:
        return _tell(as_json, planned, "Degraded", 1, errors=[_line(one) for one in waits], seconds=seconds)
    return _tell(as_json, planned, "Healthy", 0, seconds=seconds)


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
