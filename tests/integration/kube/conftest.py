"""A real API server, a namespace of its own for each test, and other writers as the API server sees them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from windlass.documents.types import Cluster, ClusterSpec
from windlass.secrets import Secrets
from workers.kube.apply import Applied, Applier
from workers.kube.applyset import ApplySet
from workers.kube.connect import Connection, client_of, read_connection
from workers.kube.discovery import Discovery, Resource
from workers.kube.errors import ApiError
from workers.kube.keys import ObjectKey
from workers.kube.transport import KubeClient


@dataclass
class Harness:
    """One cluster as a test sees it; everything namespaced that it makes is in ``namespace``."""

    client: KubeClient
    discovery: Discovery
    namespace: str
    windlass: str  # Windlass's own namespace there
    made: list[str] = field(default_factory=list)

    def applyset(self, application: str) -> ApplySet:
        return ApplySet(self.client, application, self.windlass)

    def applier(self, application: str, **options: Any) -> Applier:
        return Applier(self.client, application, self.applyset(application).id, **options)

    async def resource(self, body: dict[str, Any]) -> Resource:
        found = await self.discovery.resource(body["apiVersion"], body["kind"])
        assert found is not None
        return found

    async def path(self, body: dict[str, Any]) -> str:
        metadata = body["metadata"]
        return (await self.resource(body)).path(metadata.get("namespace", ""), metadata["name"])

    async def apply(self, application: str, body: dict[str, Any], *, digest: str = "h", **options: Any) -> Applied:
        """One object applied by ``application``; options of `Applier` and of its `apply` alike."""
        previous = options.pop("previous", None)
        applier = self.applier(application, **options)
        return await applier.apply(await self.resource(body), body, digest=digest, previous=previous)

    async def get(self, body: dict[str, Any]) -> dict[str, Any] | None:
        try:
            answer: dict[str, Any] = (await self.client.request("GET", await self.path(body))).json()
        except ApiError as error:
            if error.missing:
                return None
            raise
        return answer

    async def live(self, body: dict[str, Any]) -> dict[str, Any]:
        found = await self.get(body)
        assert found is not None
        return found

    async def create_as(self, manager: str, body: dict[str, Any]) -> dict[str, Any]:
        """As `kubectl create` or a controller does: a plain POST."""
        metadata = body["metadata"]
        path = (await self.resource(body)).path(metadata.get("namespace", ""))
        answer = await self.client.request("POST", path, params={"fieldManager": manager}, body=orjson.dumps(body))
        created: dict[str, Any] = answer.json()
        return created

    async def edit_as(self, manager: str, body: dict[str, Any], change: dict[str, Any], **options: str) -> None:
        """As `kubectl edit` and most controllers do: a patch, which is an Update to managedFields."""
        kind = options.pop("patch", "merge")
        subresource = options.pop("subresource", "")
        await self.client.request(
            "PATCH",
            await self.path(body) + subresource,
            params={"fieldManager": manager},
            body=orjson.dumps(change),
            content_type=f"application/{kind}-patch+json",
        )

    def key(self, body: dict[str, Any]) -> ObjectKey:
        return ObjectKey.of(body)

    def config_map(self, name: str = "x", **data: str) -> dict[str, Any]:
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}

    def deployment(self, name: str = "web", **spec: Any) -> dict[str, Any]:
        labels = {"app": name}
        container = {"name": "web", "image": "nginx:1"}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
                **spec,
            },
        }


@pytest.fixture(scope="session")
def cluster(kubeconfig: Path) -> Cluster:
    return Cluster("local", ClusterSpec(kubeconfig=str(kubeconfig)))


@pytest.fixture(scope="session")
def connection(cluster: Cluster) -> Connection:
    return asyncio.run(read_connection(cluster))


@pytest.fixture
async def client(cluster: Cluster, connection: Connection) -> AsyncIterator[KubeClient]:
    client = await client_of(connection, cluster, Secrets())
    yield client
    await client.close()


@pytest.fixture
async def kube(client: KubeClient) -> AsyncIterator[Harness]:
    suffix = uuid.uuid4().hex[:8]
    harness = Harness(client, Discovery(client), f"shop-{suffix}", f"windlass-{suffix}")
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": harness.namespace}}
    await client.request("POST", "/api/v1/namespaces", body=orjson.dumps(body))
    yield harness
    for path in [*harness.made, *(f"/api/v1/namespaces/{name}" for name in (harness.namespace, harness.windlass))]:
        try:
            await client.request("DELETE", path)
        except ApiError as error:
            if not error.missing:
                raise
