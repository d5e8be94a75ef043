"""One watch that goes on whatever happens to the server, the network, and what it watches."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from tests.parts.control_plane import ControlPlane
from windlass.documents.types import Cluster, ClusterSpec
from workers.cluster import ClusterAccess
from workers.kube.connect import Connection
from workers.kube.discovery import CONFIG_MAP
from workers.kube.managed_fields import PART_OF
from workers.kube.transport import KubeClient
from workers.kube.watch import Mark, Seen, Watch
from workers.watch.kinds import Kinds
from workers.watch.sightings import Place

from .conftest import Harness

SECONDS = 60.0


class Heard:
    """What a watch has said so far."""

    def __init__(self) -> None:
        self.items: list[Seen | Mark] = []
        self._more = asyncio.Event()

    def add(self, item: Seen | Mark) -> None:
        self.items.append(item)
        self._more.set()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not true():
                self._more.clear()
                await self._more.wait()

    def of(self, name: str) -> list[Seen]:
        return [item for item in self.items if isinstance(item, Seen) and item.key.name == name]

    def marks(self, mark: Mark) -> int:
        return self.items.count(mark)


@asynccontextmanager
async def watching(client: KubeClient, namespace: str) -> AsyncIterator[Heard]:
    heard = Heard()

    async def listen() -> None:
        async for item in Watch(client, CONFIG_MAP, namespace).events():
            heard.add(item)

    task = asyncio.create_task(listen())
    try:
        await heard.until(lambda: heard.marks(Mark.SYNCED) > 0 or task.done())
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Proxy:
    """Between a client and the API server: it counts, refuses streaming lists on request, and cuts every connection."""

    def __init__(self, kube: Harness) -> None:
        self._kube, self.streaming, self.watches = kube, True, 0
        self._open: set[Any] = set()

    async def __aenter__(self) -> Proxy:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._kube.client._pool._context or True)
        )
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.client = KubeClient(f"http://127.0.0.1:{self._runner.addresses[0][1]}")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        await self._runner.cleanup()
        await self._session.close()

    def cut(self) -> None:
        for transport in self._open:
            transport.abort()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        if "sendInitialEvents" in request.query and not self.streaming:
            status = {"kind": "Status", "code": 422, "reason": "Invalid", "message": "sendInitialEvents is forbidden"}
            return web.json_response(status, status=422)
        self.watches += "watch" in request.query
        url, headers = f"{self._kube.client.server}{request.raw_path}", {"Accept": request.headers["Accept"]}
        async with self._session.get(url, headers=headers) as answer:
            response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
            await response.prepare(request)
            self._open.add(request.transport)
            try:
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
            except (ConnectionError, aiohttp.ClientError):
                return response
            finally:
                self._open.discard(request.transport)
            await response.write_eof()
            return response


async def test_a_list_is_whole_before_changes_come_and_a_label_that_went_is_told_as_gone(kube: Harness) -> None:
    body = kube.config_map("x", a="1")
    applied = await kube.apply("web", body, digest="h1")
    await kube.apply("web", kube.config_map("y"), digest="h1")
    await kube.create_as("kubectl", kube.config_map("not-ours"))
    async with watching(kube.client, kube.namespace) as heard:
        assert [heard.items[0], heard.items[-1]] == [Mark.BEGIN, Mark.SYNCED]
        assert {item.key.name for item in heard.items[1:-1] if isinstance(item, Seen)} == {"x", "y"}
        (first,) = heard.of("x")
        assert (first.hash, first.part_of, first.gone) == ("h1", kube.applyset("web").id, False)
        assert [(s.application, s.fields, s.marked) for s in first.shares] == [("web", applied.fields, True)]
        await kube.edit_as("kubectl-edit", body, {"data": {"a": "2"}})
        await heard.until(lambda: len(heard.of("x")) == 2)
        assert heard.of("x")[1].managers == ("kubectl-edit",)
        assert heard.of("x")[1].shares[0].fields != applied.fields
        await kube.edit_as("kubectl-label", body, {"metadata": {"labels": {PART_OF: None}}})
        await heard.until(lambda: len(heard.of("x")) == 3)
        assert heard.of("x")[2].gone


async def test_a_server_without_streaming_lists_is_listed_page_by_page(kube: Harness) -> None:
    await kube.apply("web", kube.config_map("x"))
    async with Proxy(kube) as proxy:
        proxy.streaming = False
        async with watching(proxy.client, kube.namespace) as heard:
            assert (len(heard.of("x")), heard.marks(Mark.SYNCED)) == (1, 1)
            await kube.edit_as("kubectl-edit", kube.config_map("x"), {"data": {"a": "2"}})
            await heard.until(lambda: len(heard.of("x")) == 2)


async def test_after_a_cut_nothing_is_listed_again_and_nothing_is_missed(kube: Harness) -> None:
    await kube.apply("web", kube.config_map("x"))
    async with Proxy(kube) as proxy, watching(proxy.client, kube.namespace) as heard:
        for number in range(5):
            proxy.cut()
            await kube.edit_as("kubectl-edit", kube.config_map("x"), {"data": {"a": str(number)}})
            await heard.until(lambda count=number + 2: len(heard.of("x")) == count)
        assert (heard.marks(Mark.BEGIN), heard.marks(Mark.SYNCED)) == (1, 1)
        assert proxy.watches > 1


@pytest.mark.skipif("WINDLASS_TEST_KUBECONFIG" in os.environ, reason="the cluster is not ours to kill")
async def test_after_a_restart_and_a_compaction_the_list_is_begun_anew(
    kube: Harness, control_plane: ControlPlane
) -> None:
    await kube.apply("web", kube.config_map("x"))
    await kube.apply("web", kube.config_map("y"))
    async with watching(kube.client, kube.namespace) as heard:
        await kube.client.request("DELETE", await kube.path(kube.config_map("y")))
        await heard.until(lambda: heard.of("y")[-1].gone)
        for number in range(20):  # history that this watch does not hear of: its place in it will be gone
            await kube.create_as("someone", kube.config_map(f"noise-{number}"))
        await asyncio.to_thread(control_plane.stop_apiserver)
        await asyncio.to_thread(control_plane.forget_history)
        control_plane.start_apiserver()  # from this thread: what a thread starts ends with it
        await heard.until(lambda: heard.marks(Mark.SYNCED) == 2)
        compacted = len(heard.items) - heard.items[::-1].index(Mark.BEGIN)
        await kube.edit_as("kubectl-edit", kube.config_map("x"), {"data": {"a": "2"}})
        await heard.until(lambda: any(s.managers == ("kubectl-edit",) for s in heard.of("x")))
        assert "y" not in {item.key.name for item in heard.items[compacted:] if isinstance(item, Seen)}


async def test_a_place_in_history_that_is_forgotten_is_not_asked_for_again(
    kube: Harness, control_plane: ControlPlane
) -> None:
    await kube.apply("web", kube.config_map("x"))
    await asyncio.to_thread(control_plane.forget_history)
    heard, watch = Heard(), Watch(kube.client, CONFIG_MAP, kube.namespace)
    watch._version = "1"  # as one that was cut off long ago

    async def listen() -> None:
        async for item in watch.events():
            heard.add(item)

    task = asyncio.create_task(listen())
    try:
        await heard.until(lambda: heard.marks(Mark.SYNCED) == 1)
        assert len(heard.of("x")) == 1
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Told:
    """A listener."""

    def __init__(self) -> None:
        self.heard = Heard()
        self.places: list[tuple[str, Place]] = []

    def begin(self, place: Place) -> None:
        self.places.append(("begin", place))

    def seen(self, place: Place, seen: Seen) -> None:
        self.heard.add(seen)

    def synced(self, place: Place) -> None:
        self.places.append(("synced", place))
        self.heard.add(Mark.SYNCED)

    def lost(self, place: Place) -> None:
        self.places.append(("lost", place))


async def limited(kube: Harness, connection: Connection) -> KubeClient:
    """A client that may read the ConfigMaps of the test's namespace, and nothing else."""
    namespace = f"/namespaces/{kube.namespace}"
    rbac = f"/apis/rbac.authorization.k8s.io/v1{namespace}"
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}
    subject = {"kind": "ServiceAccount", "name": "limited", "namespace": kube.namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "limited"}
    for path, body in {
        f"/api/v1{namespace}/serviceaccounts": {},
        f"{rbac}/roles": {"rules": [rule]},
        f"{rbac}/rolebindings": {"subjects": [subject], "roleRef": reference},
    }.items():
        await kube.client.request("POST", path, body=orjson.dumps({"metadata": {"name": "limited"}, **body}))
    path = f"/api/v1{namespace}/serviceaccounts/limited/token"
    token = (await kube.client.request("POST", path, body=b'{"spec": {}}')).json()["status"]["token"]

    async def authorize(fresh: bool) -> str:
        return f"Bearer {token}"

    trust = ssl.create_default_context(cadata=connection.ca)
    trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return KubeClient(connection.server, context=trust, authorize=authorize)


async def test_where_rights_are_limited_to_namespaces_each_is_watched(kube: Harness, connection: Connection) -> None:
    await kube.apply("web", kube.config_map("x"))
    client = await limited(kube, connection)
    told = Told()

    async def wanted(group_kind: str) -> bool:
        return True

    kinds = Kinds(ClusterAccess(Cluster("local", ClusterSpec()), client), [told], still_wanted=wanted)
    task = asyncio.create_task(kinds.run())
    try:
        kinds.want([Place("ConfigMap", kube.namespace)])
        await told.heard.until(lambda: told.heard.marks(Mark.SYNCED) > 0)
        assert ("synced", Place("ConfigMap", kube.namespace)) in told.places
        assert len(told.heard.of("x")) == 1
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.close()


async def test_a_long_list_never_holds_the_loop(kube: Harness) -> None:
    applier, resource = kube.applier("web"), await kube.resource(kube.config_map())

    async def apply(number: int) -> None:
        async with kube.client.limiter:
            await applier.apply(resource, kube.config_map(f"x{number}", a="1"), digest="h")

    await asyncio.gather(*map(apply, range(800)))
    stall = 0.0

    async def measure() -> None:
        nonlocal stall
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.001)
            stall = max(stall, time.thread_time() - before)

    task = asyncio.create_task(measure())
    async with watching(kube.client, kube.namespace) as heard:
        task.cancel()
        assert sum(isinstance(item, Seen) for item in heard.items) == 800
    assert stall < 0.05
