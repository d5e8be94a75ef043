"""All resources of some namespaces, kept up with on the real API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.parts.control_plane import ControlPlane
from tests.parts.resources import place, resource
from windlass.documents.types import Cluster, ClusterSpec
from windlass.secrets import Secrets
from workers.kube.connect import connect
from workers.kube.transport import KubeClient
from workers.resources.collection import Collection

pytestmark = pytest.mark.integration

REPOSITORY = {"url": "https://git.example/web.git"}


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[KubeClient]:
    made = await connect(Cluster("c", ClusterSpec(kubeconfig=str(control_plane.kubeconfig))), Secrets())
    yield made
    await made.close()


@asynccontextmanager
async def followed(client: KubeClient, *namespaces: str) -> AsyncIterator[Collection]:
    collection = Collection(client, namespaces, lambda: None)
    task = asyncio.create_task(collection.run())
    await until(lambda: collection.complete)
    yield collection
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.02)


def labels(collection: Collection) -> set[str]:
    return {one.resource.label for one in collection}


async def request(plane: ControlPlane, *arguments: Any, **more: Any) -> None:
    await asyncio.to_thread(plane.request, *arguments, **more)


async def test_what_is_there_comes_changes_and_goes(defined: ControlPlane, namespace: str, client: KubeClient) -> None:
    await request(defined, "POST", place(namespace, "Repository"), resource("Repository", "web", REPOSITORY))
    async with followed(client, namespace) as collection:
        assert labels(collection) == {f"Repository {namespace}/web"}
        await request(defined, "POST", place(namespace, "Repository"), resource("Repository", "other", REPOSITORY))
        await until(lambda: len(labels(collection)) == 2)
        patch = {"spec": {"url": "https://git.example/new.git"}}
        path = place(namespace, "Repository", "web")
        await request(defined, "PATCH", path, patch, content_type="application/merge-patch+json")
        await until(lambda: any(one.resource.generation == 2 for one in collection))
        await request(defined, "DELETE", path)
        await until(lambda: labels(collection) == {f"Repository {namespace}/other"})


async def test_other_namespaces_are_not_looked_at(defined: ControlPlane, namespace: str, client: KubeClient) -> None:
    await request(defined, "POST", place(namespace, "Repository"), resource("Repository", "web", REPOSITORY))
    async with followed(client, "default") as collection:
        assert f"Repository {namespace}/web" not in labels(collection)
    async with followed(client, "") as collection:
        assert f"Repository {namespace}/web" in labels(collection)


async def test_who_may_not_read_goes_on_without(defined: ControlPlane, namespace: str, client: KubeClient) -> None:
    """And says so; nobody waits for a right that is never given."""
    await request(defined, "POST", place(namespace, "Repository"), resource("Repository", "web", REPOSITORY))
    nobody = client.acting_as(f"system:serviceaccount:{namespace}:nobody")
    async with followed(nobody, namespace) as collection:
        assert collection.complete
        assert not labels(collection)
