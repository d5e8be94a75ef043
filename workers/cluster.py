"""One cluster as the runs of many applications share it: a warm connection, what kinds it has, and how fast it takes writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from windlass.documents.accounts import ServiceAccount
from windlass.documents.types import Cluster
from windlass.secrets import Secrets
from workers.kube import crds, managed_fields, prune, removal
from workers.kube.applyset import ApplySet
from workers.kube.attempt import Attempt
from workers.kube.connect import connect
from workers.kube.discovery import Discovery, Resource
from workers.kube.errors import ApiError
from workers.kube.keys import ObjectKey

if TYPE_CHECKING:
    from workers.kube.transport import KubeClient

log = structlog.get_logger(__name__)

Signature = tuple[tuple[int, int, int], ...]

CONNECT_SECONDS = 10.0
"""How long runs wait for a kubeconfig to be read: its plugin may ask a cloud. What takes longer is ready for a later run."""
RETIRE_SECONDS = 60.0
"""A connection that another one replaced is closed after this time: runs that began with it may end with it."""
ESTABLISH_SECONDS = 30.0
"""How long a CustomResourceDefinition may take until its resources can be applied."""


class ClusterAccess:
    """The connection to the cluster of one document."""

    def __init__(self, document: Cluster, client: KubeClient, installation: str = "") -> None:
        """``installation`` is the name of this one, if it has any."""
        self.document, self.client, self.installation = document, client, installation
        self.namespace = document.spec.namespace
        self.discovery = Discovery(client)
        self.limiter = client.limiter
        self._applysets: dict[str, ApplySet] = {}
        self._version = ""

    def applyset(self, application: str) -> ApplySet:
        """The application's ApplySet; it remembers what its parent says, so that most runs need not ask."""
        fresh = ApplySet(self.client, application, self.namespace, installation=self.installation)
        return self._applysets.setdefault(application, fresh)

    @staticmethod
    def is_human(manager: str) -> bool:
        return managed_fields.is_human(manager)

    async def established(self, name: str) -> None:
        """Wait until the CustomResourceDefinition ``name`` serves its resources, then learn of them."""
        await crds.established(self.client, name, ESTABLISH_SECONDS)
        self.discovery.forget()

    def members(self, account: ServiceAccount | None) -> KubeClient:
        """The client for an application's objects: as its account, None for Windlass' own identity.

        What says which objects these are (the ApplySet's parent, lists by label, discovery) is never the account's: a
        tenant must not write it, and need not be able to read it.
        """
        return self.client if account is None else self.client.acting_as(account.user)

    async def prune(
        self,
        key: ObjectKey,
        api_version: str,
        application: str,
        applyset_id: str,
        *,
        account: ServiceAccount | None,
        deadline: Callable[[], float],
        seen: dict[str, Any] | None = None,
        with_application: bool = False,
    ) -> str:
        """Delete one object, as ``account``, if it is ours still; "gone" where the cluster no longer has even its kind."""
        resource = await self.discovery.resource(api_version, key.kind)
        if resource is None:
            return "gone"
        client = self.members(account)
        return await prune.prune(
            client,
            resource,
            key,
            application=application,
            applyset_id=applyset_id,
            deadline=deadline,
            seen=seen,
            with_application=with_application,
        )

    async def version(self) -> str:
        """The cluster's version, such as ``v1.36.3``; asked once."""
        if not self._version:
            answer = (await self.client.request("GET", "/version")).json()
            self._version = str(answer.get("gitVersion", ""))
        return self._version

    async def metadata(self, key: ObjectKey, api_version: str) -> dict[str, Any] | None:
        """The object's metadata; None: it isn't there, or not even its kind."""
        resource = await self.discovery.resource(api_version, key.kind)
        return await removal.metadata_of(self.client, resource, key) if resource is not None else None

    async def read(self, key: ObjectKey) -> dict[str, Any] | None:
        """The whole object, by the version that the cluster prefers; None: it isn't there."""
        resource = await self.discovery.preferred(key.group, key.kind)
        if resource is None:
            return None
        try:
            found = (await self.client.request("GET", resource.path(key.namespace, key.name))).json()
        except ApiError as error:
            if error.missing:
                return None
            raise
        obj: dict[str, Any] = found
        return obj

    async def replace_away(
        self,
        resource: Resource,
        key: ObjectKey,
        application: str,
        applyset_id: str,
        *,
        account: ServiceAccount | None,
        deadline: Callable[[], float],
    ) -> None:
        """Delete one object of ours that is to be created anew, as ``account``, and wait until it is gone.

        :raises ApiError: it can't be.
        """
        client = self.members(account)
        await removal.remove_ours(
            client, resource, key, application=application, applyset_id=applyset_id, deadline=deadline
        )


class Clusters:
    """The clusters in use, connected on first need, and again when their document or their kubeconfig changed."""

    def __init__(self, secrets: Secrets, installation: str = "") -> None:
        self._secrets, self._installation = secrets, installation
        self._open: dict[str, tuple[Cluster, Signature, Attempt[ClusterAccess]]] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    async def get(self, document: Cluster) -> ClusterAccess:
        """The cluster's connection. A plugin or a file that hangs holds up nobody for longer than `CONNECT_SECONDS`.

        :raises TransientError: it can't be connected, or not yet.
        """
        signature = _signature(document)
        known = self._open.get(document.name)
        if known is None or known[:2] != (document, signature):
            fresh = Attempt(f"cluster {document.name}", lambda: self._connect(document), patience=CONNECT_SECONDS)
            self._open[document.name] = document, signature, fresh
            if known is not None:
                self._retire(known[2])
            return await fresh.result()
        return await known[2].result()

    async def _connect(self, document: Cluster) -> ClusterAccess:
        access = ClusterAccess(document, await connect(document, self._secrets), self._installation)
        log.info("cluster.connected", cluster=document.name)
        return access

    def _retire(self, attempt: Attempt[ClusterAccess]) -> None:
        task = asyncio.create_task(_end(attempt, after=RETIRE_SECONDS))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def close(self) -> None:
        for task in (retiring := set(self._retiring)):
            task.cancel()
        await asyncio.gather(*retiring, return_exceptions=True)
        for _, _, attempt in self._open.values():
            await _end(attempt)
        self._open.clear()


async def _end(attempt: Attempt[ClusterAccess], *, after: float = 0.0) -> None:
    try:
        await asyncio.sleep(after)
    finally:
        await attempt.cancel()
        if (access := attempt.found()) is not None:
            await access.client.close()


def _signature(document: Cluster) -> Signature:
    """What shows that a file changed from which the connection came: a certificate in it is renewed now and then."""
    found = []
    for path in filter(None, (document.spec.kubeconfig, document.spec.ca_file)):
        try:
            status = Path(path).expanduser().stat()
        except OSError:
            continue  # to read it will say what is wrong
        found.append((status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(found)
