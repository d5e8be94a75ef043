"""`windlass rollback`: back to a revision that is kept, also with Git away, and held there until it is released; or, with
`--pull-request`, by way of Git."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import click

from windlass.cli.shared import application_of, load_settings, table
from windlass.errors import PermanentError

if TYPE_CHECKING:
    from windlass.documents.types import Application
    from windlass.settings import Settings
    from workers.rollback import Rollback


@click.command()
@click.argument("application")
@click.argument("revision", required=False)
@click.option("--release", is_flag=True, help="Follow Git again.")
@click.option("--list", "only_list", is_flag=True, help="Show what is kept.")
@click.option("--pull-request", "by_pull", is_flag=True, help="Propose it in Git, and change nothing else.")
def rollback(application: str, revision: str | None, release: bool, only_list: bool, by_pull: bool) -> None:
    """Apply a kept REVISION of APPLICATION again (the last healthy one before the present), and hold it there.

    Git is not asked, so it may be away. Pushes are noted and not applied until `--release`.

    With --pull-request, REVISION is any commit of the branch that APPLICATION follows (by default the last one that was
    healthy and differs), and a pull request takes the application's folder back to what it was there.
    """
    if by_pull and (release or only_list):
        raise click.UsageError("--pull-request goes with neither --release nor --list")
    if by_pull:
        raise SystemExit(asyncio.run(_by_pull_request(load_settings(), application, revision or "")))
    raise SystemExit(asyncio.run(_rollback(load_settings(), application, revision, release, only_list)))


async def _rollback(settings: Settings, name: str, revision: str | None, release: bool, only_list: bool) -> int:
    from windlass import logs
    from windlass.cli.remove import working
    from workers.rollback import Rollback

    logs.configure("warning", "console")
    async with working(settings) as context:
        application, rollback = application_of(context.catalog, settings, name), Rollback(context)
        if release:
            await rollback.release(application)
            click.echo(f"{name}: released; what Git has is applied now")
            return 0
        if only_list:
            rows = [(one.revision, _ago(one.kept), _ago(one.healthy)) for one in await rollback.kept(name)]
            click.echo(table(("REVISION", "KEPT", "HEALTHY"), rows))
            return 0
        return await _back(rollback, application, revision)


async def _back(rollback: Rollback, application: Application, asked: str | None) -> int:
    from windlass.hold import Hold

    revision, present = await _revision(rollback, application, asked)
    outcome = await rollback.to(application, Hold(revision, failed=present, since=time.time()))
    while outcome.retry_in is not None:
        click.echo(f"{application.name}: {outcome.phase}", err=True)
        await asyncio.sleep(outcome.retry_in)
        outcome = await rollback.go_on(application)
    for error in outcome.errors:
        click.echo(f"  {error}", err=True)
    click.echo(f"{application.name}: {outcome.phase} at {revision[:10]}, {outcome.seconds * 1000:.0f} ms")
    if outcome.phase != "Held":
        return 1
    click.echo(f"It stays there until `windlass rollback {application.name} --release`.", err=True)
    return 0


async def _revision(rollback: Rollback, application: Application, asked: str | None) -> tuple[str, str]:
    """The kept revision that is meant, and the present one.

    :raises PermanentError: there is none, or several begin like that.
    """
    state = await rollback.state(application.name)
    if asked is None:
        return await rollback.healthy_before(state), state.wanted
    found = [one.revision for one in await rollback.kept(application.name) if one.revision.startswith(asked)]
    if len(found) != 1:
        which = "several kept revisions begin" if found else "no kept revision begins"
        raise PermanentError(f"{which} with {asked}: see `windlass rollback {application.name} --list`")
    return found[0], state.wanted


async def _by_pull_request(settings: Settings, name: str, asked: str) -> int:
    from windlass import logs
    from windlass.cli.remove import working
    from workers.promote.forge import ForgeAccess
    from workers.promote.rollback import propose_rollback

    logs.configure("warning", "console")
    async with working(settings) as context:
        forge = ForgeAccess(context.secrets, context.secret_key)
        try:
            made = await propose_rollback(context, forge, application_of(context.catalog, settings, name), asked)
        finally:
            await forge.close()
    click.echo(f"{name}: {made.pull.url} takes {len(made.files)} files back to {made.revision[:10]}")
    for path in made.left:
        click.echo(f"  {path or 'the whole repository'} is read too, and is not what it was then", err=True)
    return 0


def _ago(moment: float) -> str:
    return f"{time.time() - moment:.0f} s ago" if moment else "-"
