"""`windlass sync` and `windlass delete`: what people ask for by hand."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import click

from windlass import state
from windlass.cli.shared import application_of, connect, load_settings
from windlass.documents.promotion import promotion_id
from windlass.hold import Hold
from windlass.queue.seal import approvals

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from windlass.documents.promotions import PromotionView
    from windlass.queue import SourceQueue


@click.command()
@click.argument("application")
@click.option("--wait/--no-wait", default=True, help="Wait for the run and show what came of it.")
@click.option("--timeout", default=120.0, show_default=True, help="Seconds to wait.")
def sync(application: str, wait: bool, timeout: float) -> None:
    """Compare all of APPLICATION with the cluster and make it equal to Git, now."""
    raise SystemExit(asyncio.run(_sync(application, wait, timeout)))


async def _sync(application: str, wait: bool, timeout: float) -> int:
    settings = load_settings()
    async with connect(settings) as (redis, queue, catalog):
        document = application_of(catalog, settings, application)
        now = await state.read_state(redis, application)
        if hold := Hold.load(now.hold):
            click.echo(f"{application}: {hold}", err=True)
            return 1
        before = now.last
        asked = time.time()
        await redis.hincrby(state.application_key(application), "whole", 1)
        view = catalog.sources[document.source.id]
        marked = await queue.nudge(view.id, digest=view.digest, reason="windlass sync", dirty=[application])
        if not wait:
            click.echo(f"{application}: queued")
            return 0
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            source = await queue.source_state(view.id)
            now = await state.read_state(redis, application)
            if now.last is not None and now.last != before and not now.whole:
                return _tell(now)
            if now.last is not None and now.last.started >= asked and now.phase in ("Failed", "Retrying"):
                return _tell(now)
            if source.get("error") and int(source.get("done", 0)) >= marked.generation:
                click.echo(f"source {view.id}: {source['error']}", err=True)
                return 1
            await asyncio.sleep(0.05)
        click.echo(f"{application}: not done in {timeout:g} s: {await _why(queue, now, source)}", err=True)
        return 1


async def _why(queue: SourceQueue, now: state.ApplicationState, source: dict[str, str]) -> str:
    """What is known of a run that isn't over."""
    if not await queue.workers():
        return "no worker is running"
    return now.standing.why or source.get("error") or ("it runs" if source.get("running") else "it is queued")


def _tell(now: state.ApplicationState) -> int:
    last = now.last
    assert last is not None
    took = last.durations.get("total", 0.0)
    click.echo(
        f"{now.name}: {now.phase} at {last.revision[:10]}: {last.applied} applied, {last.unchanged} unchanged, "
        f"{last.pruned} pruned, {took:.0f} ms"
    )
    for error in last.errors:
        click.echo(f"  {error}", err=True)
    return 0 if now.phase == "Synced" else 1


@click.command()
@click.argument("name")
def approve(name: str) -> None:
    """Let the commit that an application NAME waits at delete what it no longer names, whatever its prune limit.

    Of a Promotion NAME: let the image that waits for it be proposed.
    """
    raise SystemExit(asyncio.run(_approve(name)))


async def _approve_promotion(redis: Redis, queue: SourceQueue, view: PromotionView, key: bytes) -> int:
    from workers.promote.state import PromotionStore

    store, name = PromotionStore(redis, key), view.promotion.name
    image = (await store.read(name)).image
    if image is None:
        click.echo(f"{name}: no image waits for an approval")
        return 1
    await store.approve(name, image)
    await queue.nudge(view.promotion.id, digest=view.digest, reason="windlass approve")
    click.echo(f"{name}: approved {image.identity}")
    return 0


async def _approve(application: str) -> int:
    settings = load_settings()
    async with connect(settings) as (redis, queue, catalog):
        promotion = catalog.promotions.get(promotion_id(application))
        if promotion is not None and application not in catalog.applications:
            return await _approve_promotion(redis, queue, promotion, settings.secret_key())
        document = application_of(catalog, settings, application)
        now = await state.read_state(redis, application)
        if now.phase == "Synced" or not now.wanted:
            click.echo(f"{application}: nothing waits for an approval")
            return 1
        key = state.application_key(application)
        await redis.hset(key, "approved", approvals(settings.secret_key()).sealed(key, now.wanted.encode()))
        view = catalog.sources[document.source.id]
        await queue.nudge(view.id, digest=view.digest, reason="windlass approve", dirty=[application])
        click.echo(f"{application}: approved at {now.wanted[:10]}")
        return 0


@click.command()
@click.argument("application")
@click.option("--cluster", help="Where it is, if its document is gone.")
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--hooks/--no-hooks", default=True, help="Run the hooks that ask for it before and after.")
def delete(application: str, cluster: str | None, dry_run: bool, yes: bool, hooks: bool) -> None:
    """Delete every object of APPLICATION from its cluster, the highest wave first.

    PreDelete and PostDelete hooks run around it. Namespaces, CRDs and volumes stay unless they say otherwise.
    """
    from windlass.cli.remove import delete_application

    settings = load_settings()
    raise SystemExit(
        asyncio.run(delete_application(settings, application, cluster, dry_run=dry_run, yes=yes, run_hooks=hooks))
    )
