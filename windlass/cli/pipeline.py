"""`windlass logs`: what a pipeline's builder said."""

from __future__ import annotations

import asyncio

import click

from windlass import wire
from windlass.cli.shared import connect, load_settings
from windlass.documents.pipeline import Pipeline
from windlass.errors import PermanentError

LOOK_SECONDS = 0.3


@click.command()
@click.argument("pipeline")
@click.option("-f", "--follow", is_flag=True, help="Go on until the build has ended.")
def logs(pipeline: str, follow: bool) -> None:
    """Print what the builder of PIPELINE's last run said."""
    raise SystemExit(asyncio.run(_logs(pipeline, follow)))


async def _logs(name: str, follow: bool) -> int:
    from workers.pipeline.logs import log_key

    async with connect(load_settings()) as (redis, queue, catalog):
        known = {view.pipeline.name: view.id for view in catalog.pipelines.values()}
        if name not in known:
            raise PermanentError(f"no valid document of a {Pipeline.__name__} {name}")
        shown = 0
        while True:
            state = await queue.source_state(known[name])
            lines = await redis.lrange(log_key(name), shown, -1)
            for line in lines:
                click.echo(wire.text(line))
            shown += len(lines)
            if not follow or not (state.get("running") or state.get("waiting")):
                break
            await asyncio.sleep(LOOK_SECONDS)
        if state.get("error"):
            click.echo(f"{name}: {state['error']}", err=True)
            return 1
        return 0
