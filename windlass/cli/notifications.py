"""`windlass notifications`: who is told of what, what waits to be told, and what a receiver refused."""

from __future__ import annotations

import asyncio

import click

from windlass.cli.shared import connect, load_settings, table
from windlass.queue.notices import Notices, Standing


@click.command()
def notifications() -> None:
    """Show each Notification: its receiver's kind, its events, and what became of its notices."""
    rows, errors = asyncio.run(_read())
    click.echo(table(("NOTIFICATION", "TO", "EVENTS", "WAITING", "TOLD", "GIVEN UP"), rows))
    for error in errors:
        click.echo(error, err=True)


async def _read() -> tuple[list[tuple[str, ...]], list[str]]:
    async with connect(load_settings()) as (redis, _, catalog):
        rules = [rule for _, rule in sorted(catalog.notifications.items())]
        standings = await Notices(redis).standings([rule.name for rule in rules])
    rows: list[tuple[str, ...]] = [
        (rule.name, rule.spec.to.kind, ",".join(rule.spec.events), *_counted(one))
        for rule, one in zip(rules, standings, strict=True)
    ]
    errors = [f"{rule.name}: {one.error}" for rule, one in zip(rules, standings, strict=True) if one.error]
    return rows, errors


def _counted(one: Standing) -> tuple[str, str, str]:
    return str(one.waiting), str(one.told), str(one.given_up)
