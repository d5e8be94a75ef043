"""`windlass delete APP`: the one way, beside a commit, by which an application's objects go."""

from __future__ import annotations

from collections.abc import Callable

import click

from windlass import state
from windlass.cli.shared import connect
from windlass.documents.accounts import ServiceAccount, account_of
from windlass.documents.catalog import Catalog
from windlass.documents.types import Cluster
from windlass.errors import WindlassError
from windlass.health import health_key
from windlass.queue import LeaseKeeper
from windlass.secrets import Secrets
from windlass.settings import Settings
from workers.cluster import ClusterAccess
from workers.kube.applyset import Member
from workers.kube.connect import connect as connect_cluster
from workers.kube.errors import ApiError
from workers.plan import FIRST


async def delete_application(
    settings: Settings, application: str, cluster: str | None, *, dry_run: bool, yes: bool
) -> int:
    """Delete what the application owns in its cluster; the exit status."""
    async with connect(settings) as (redis, _, catalog):
        document = _cluster(catalog, application, cluster)
        access = ClusterAccess(document, await connect_cluster(document, Secrets()))
        members = await _members(access, application)
        _announce(application, document, members, documented=application in catalog.applications)
        if dry_run or not members or not (yes or click.confirm("Delete them?")):
            await access.client.close()
            return 0
        keeper = LeaseKeeper(redis, settings.redis_url or "", seconds=settings.lease_seconds)
        keeper.start()
        lease = await keeper.acquire("application", application)
        try:
            members = await _members(access, application)  # runs may have come between, while a person thought
            account = _account(catalog, application, settings)
            failed = await _delete(access, application, members, account, lease.remaining)
            if not failed:
                claims = [str(member.key) for member in members]
                await redis.hdel(state.claims_key(document.name), *claims)
                keys = (state.application_key, state.objects_key, health_key)
                await redis.delete(*(key(application) for key in keys))
            return 1 if failed else 0
        finally:
            await lease.release()
            keeper.close()
            await access.client.close()


def _cluster(catalog: Catalog, application: str, cluster: str | None) -> Cluster:
    document = catalog.applications.get(application)
    name = cluster or (document.spec.destination.cluster if document else None)
    if name is None:
        raise WindlassError(f"there is no document of an application {application}: say where it is with --cluster")
    if name not in catalog.clusters:
        raise WindlassError(f"there is no valid Cluster {name}")
    return catalog.clusters[name]


def _account(catalog: Catalog, application: str, settings: Settings) -> ServiceAccount | None:
    """As whom its objects were written. Without its document only who runs this can tell, so it is done as Windlass."""
    document = catalog.applications.get(application)
    return account_of(document.spec.destination, settings.default_service_account) if document else None


async def _members(access: ClusterAccess, application: str) -> list[Member]:
    members, unlisted = await access.applyset(application).members(access.discovery)
    for group_kind, reason in unlisted.items():
        raise WindlassError(f"{group_kind} can't be listed, so nothing is deleted: {reason}")
    order = {name: place for place, name in enumerate(reversed(FIRST), start=1)}
    return sorted((m for m in members if m.ours), key=lambda m: (order.get(m.key.group_kind, 0), str(m.key)))


def _announce(application: str, cluster: Cluster, members: list[Member], *, documented: bool) -> None:
    click.echo(f"{application} owns {len(members)} objects on {cluster.name}:")
    for member in members:
        click.echo(f"  {member.key}")
    if documented:
        click.echo("Its document is still there: the next push or `windlass sync` creates them again.", err=True)


async def _delete(
    access: ClusterAccess,
    application: str,
    members: list[Member],
    account: ServiceAccount | None,
    deadline: Callable[[], float],
) -> int:
    applyset, kept, failed = access.applyset(application), 0, 0
    for member in members:
        try:
            result = await access.prune(
                member.key, member.api_version, application, applyset.id, account=account, deadline=deadline
            )
        except ApiError as error:
            click.echo(f"{member.key}: {error}", err=True)
            failed += 1
            continue
        click.echo(f"{member.key}: {result}")
        kept += result == "kept"
    if not failed and not kept:
        await applyset.remove(deadline=deadline)
    return failed
