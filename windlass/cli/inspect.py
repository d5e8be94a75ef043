"""`windlass status` and `windlass history`: what was wanted, applied and healthy, and how long each step took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
import msgspec
import orjson

from windlass import state
from windlass.cli.shared import connect, load_settings, no_application, table
from windlass.errors import WindlassError
from windlass.hold import Hold

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from windlass.documents.catalog import Catalog
    from windlass.settings import Settings


@click.command()
@click.argument("application", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of a table.")
def status(application: str | None, as_json: bool) -> None:
    """Show each application's phase, health and revision, or one application with its errors and its commit's way."""
    states, sources, errors = asyncio.run(_read(application))
    if as_json:
        click.echo(
            orjson.dumps(
                {"applications": msgspec.to_builtins(states), "sources": sources, "errors": errors},
                option=orjson.OPT_INDENT_2,
            )
        )
        raise SystemExit(1 if errors and not states else 0)
    rows = [
        (s.name, s.phase, _health(s), s.revision[:10] or "-", s.wanted[:10] or "-", str(s.objects), _ago(s), _total(s))
        for s in states
    ]
    click.echo(table(("APPLICATION", "PHASE", "HEALTH", "APPLIED", "WANTED", "OBJECTS", "LAST RUN", "TOOK"), rows))
    if application and states[0].last is not None:
        click.echo(_way(states[0].last))
    for one in states:
        for line in _remarks(one):
            click.echo(f"{one.name}: {line}", err=True)
    for name, source in sources.items():
        if source.get("error"):
            click.echo(f"source {name}: {source['error']}", err=True)
    for error in errors:
        click.echo(f"error: {error}", err=True)
    if errors and not states:
        raise SystemExit(1)


@click.command()
@click.argument("application")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def history(application: str, as_json: bool) -> None:
    """Show the last 50 runs of APPLICATION, newest first."""
    runs = asyncio.run(_history(application))
    if as_json:
        click.echo(orjson.dumps(msgspec.to_builtins(runs), option=orjson.OPT_INDENT_2))
        return
    if not runs:
        click.echo(f"{application} has not run yet", err=True)
    rows = [
        (
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.started)),
            run.revision[:10],
            run.phase,
            run.health.partition(":")[0] or "-",
            f"{run.applied}/{run.pruned}",
            run.fetch.split(" ")[0],
            " ".join(f"{step} {took:.0f}" for step, took in run.durations.items()) + " ms",
            run.event[:36],
        )
        for run in runs
    ]
    click.echo(table(("STARTED", "REVISION", "PHASE", "HEALTH", "APPLIED/PRUNED", "FETCH", "STEPS", "EVENT"), rows))


async def _read(application: str | None) -> tuple[list[state.ApplicationState], dict[str, Any], list[str]]:
    """The states, their sources', and what is wrong with the documents.

    :raises WindlassError: there is no such application.
    """
    settings = load_settings()
    async with connect(settings) as (redis, queue, catalog):
        names = [application] if application else sorted(catalog.applications)
        if application is not None:
            await _known(redis, catalog, settings, application)
        states = await state.read_states(redis, names)
        followed = [catalog.applications[name].source.id for name in names if name in catalog.applications]
        sources = {name: await queue.source_state(name) for name in dict.fromkeys(followed)}
        return states, sources, [] if application else [str(error) for error in catalog.errors]


async def _history(application: str) -> list[state.RunRecord]:
    settings = load_settings()
    async with connect(settings) as (redis, _, catalog):
        await _known(redis, catalog, settings, application)
        return await state.read_history(redis, application)


async def _known(redis: Redis, catalog: Catalog, settings: Settings, name: str) -> None:
    """Is there a document of it, or did it ever run?

    :raises WindlassError: neither.
    """
    if name not in catalog.applications and not await redis.exists(
        state.application_key(name), state.history_key(name)
    ):
        raise WindlassError(f"{no_application(catalog, settings, name)}; nor has it ever run")


def _remarks(one: state.ApplicationState) -> Iterator[str]:
    """What a person should know besides the row: errors, what is waited for, drift."""
    if hold := Hold.load(one.hold):
        yield str(hold)
    if one.last is not None:
        yield from one.last.errors
        yield from (f"warning: {warning}" for warning in one.last.warnings)
        if one.last.waits:
            yield f"waits: {one.last.waits}"
    yield from (f"health: {name}: {why}" for name, why in one.health.unhealthy.items())
    for cluster, count in one.left.items():
        delete = f"`windlass delete {one.name} --cluster {cluster}` deletes them"
        yield f"warning: {count} objects stay on {cluster}, which its document named before: {delete}"
    yield from (f"drift: {name}: {what}" for name, what in one.drift.objects.items())
    yield from (f"fight: {name}: {who}" for name, who in one.drift.fights.items())


def _health(one: state.ApplicationState) -> str:
    found = one.health
    return f"{found.status} {found.current}/{found.objects}" if found.unhealthy else found.status or "-"


def _way(run: state.RunRecord) -> str:
    """A commit's way in one line: what took how long, from its webhook until it was healthy."""
    took = run.durations
    steps = (
        ("started", took.get("queue")),
        ("fetched", took.get("tip", 0.0) + took["fetch"] if "fetch" in took else None),
        ("rendered", took.get("render")),
        ("applied", took.get("plan", 0.0) + took["apply"] if "apply" in took else None),
        ("pruned", took.get("prune")),
        ("healthy", took.get("healthy")),
    )
    came = time.strftime("%H:%M:%S", time.localtime(run.received or run.started))
    done = [f"{step} +{_duration(ms)}" for step, ms in steps if ms is not None]
    return " → ".join([f"{run.revision[:10]}: {'received' if run.received else 'looked at'} {came}", *done])


def _duration(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def _ago(one: state.ApplicationState) -> str:
    if one.last is None:
        return "never"
    seconds = time.time() - one.last.started
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{seconds / 60:.0f} min ago"


def _total(one: state.ApplicationState) -> str:
    return f"{one.last.durations.get('total', 0):.0f} ms" if one.last else "-"
