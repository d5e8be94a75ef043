"""One cluster as the runs of many applications share it: a warm connection, what kinds it has, and how fast it takes writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog

from windlass.documents.types import Cluster
from windlass.secrets import Secrets
from workers.kube import crds, managed_fields, prune, removal
from workers.kube.applyset import ApplySet
from workers.kube.connect import connect
from workers.kube.discovery import Discovery, Resource
from workers.kube.errors import ApiError
from workers.kube.keys import ObjectKey

if TYPE_CHECKING:
    from workers.kube.transport import KubeClient

log = structlog.get_logger(__name__)

ESTABLISH_SECONDS = 30.0
"""How long a CustomResourceDefinition may take until its resources can be applied."""


class ClusterAccess:
    """The connection to the cluster of one document."""

    def __init__(self, document: Cluster, client: KubeClient) -> None:
        self.document, self.client = document, client
        self.namespace = document.spec.namespace
        self.discovery = Discovery(client)
        self.limiter = client.limiter
        self._applysets: dict[str, ApplySet] = {}

    def applyset(self, application: str) -> ApplySet:
        """The application's ApplySet; it remembers what its parent says, so that most runs need not ask."""
        return self._applysets.setdefault(application, ApplySet(self.client, application, self.namespace))

    @staticmethod
    def is_human(manager: str) -> bool:
        return managed_fields.is_human(manager)

    async def established(self, name: str) -> None:
        """Wait until the CustomResourceDefinition ``name`` serves its resources, then learn of them."""
        await crds.established(self.client, name, ESTABLISH_SECONDS)
        self.discovery.forget()

    async def prune(
        self,
        key: ObjectKey,
        api_version: str,
        application: str,
        applyset_id: str,
        *,
        deadline: Callable[[], float],
        seen: dict[str, Any] | None = None,
    ) -> str:
        """Delete one object if it is ours still; "gone" where the cluster no longer has even its kind."""
        resource = await self.discovery.resource(api_version, key.kind)
        if resource is None:
            return "gone"
        return await prune.prune(
            self.client, resource, key, application=application, applyset_id=applyset_id, deadline=deadline, seen=seen
        )

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
        self, resource: Resource, key: ObjectKey, application: str, applyset_id: str, *, deadline: Callable[[], float]
    ) -> None:
        """Delete one object of ours that is to be created anew, and wait until it is gone.

        :raises ApiError: it can't be.
        """
        await removal.remove_ours(
            self.client, resource, key, application=application, applyset_id=applyset_id, deadline=deadline
        )


class Clusters:
    """The clusters in use, connected on first need, and again when their document changed."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._open: dict[str, ClusterAccess] = {}
        self._lock = asyncio.Lock()

    async def get(self, document: Cluster) -> ClusterAccess:
        access = self._open.get(document.name)
        if access is not None and access.document == document:
            return access
        async with self._lock:
            access = self._open.get(document.name)
            if access is not None and access.document == document:
                return access
            if access is not None:
                await access.client.close()
            self._open[document.name] = fresh = ClusterAccess(document, await connect(document, self._secrets))
            log.info("cluster.connected", cluster=document.name)
            return fresh

    async def close(self) -> None:
        for access in self._open.values():
            await access.client.close()
        self._open.clear()
