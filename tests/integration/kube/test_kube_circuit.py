"""A server that is away costs nobody its time-out again; one whose answers to some requests hang is not taken for away."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web

from workers.kube import circuit, transport
from workers.kube.errors import ApiError, RequestTimeoutError, UnreachableError
from workers.kube.transport import KubeClient


class Server:
    """A server on one port that can fall silent (it takes connections and gives no answer), leave, and come back."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.silent = asyncio.Event()
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def leave(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if self.silent.is_set() or request.path == "/hangs":
            await asyncio.sleep(60)
        return web.Response(status=401 if request.path == "/livez" else 200, text="{}")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    await made.start()
    yield made
    await made.leave()


@pytest.fixture
async def client(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubeClient]:
    """With less patience than in earnest."""
    monkeypatch.setattr(circuit, "SUSPICIOUS_SECONDS", 0.2)
    monkeypatch.setattr(transport, "CONNECT_SECONDS", 1.0)
    made = KubeClient(f"http://127.0.0.1:{server.port}", max_concurrent_requests=4)
    yield made
    await made.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


async def answers_again(client: KubeClient) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await client.request("GET", "/x")
            except UnreachableError:
                await asyncio.sleep(0.05)
            else:
                return


async def test_all_who_wait_for_a_silent_server_are_told_at_once_and_those_after_them_do_not_wait(
    server: Server, client: KubeClient
) -> None:
    server.silent.set()
    waiting = [asyncio.create_task(client.request("GET", "/x", timeout=60)) for _ in range(20)]  # more than connections
    errors = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 30)
    assert {type(error) for error in errors} == {UnreachableError}
    asked = len(server.asked)
    for view in (client, client.acting_as("system:serviceaccount:a:b")):
        with pytest.raises(UnreachableError, match="it does not answer"):
            await asyncio.wait_for(view.request("PATCH", "/x", body=b"{}"), 5)
    assert server.asked[asked:] in ([], ["/livez"])


async def test_a_server_that_answers_again_is_found_without_anybody_asking(server: Server, client: KubeClient) -> None:
    server.silent.set()
    with pytest.raises(UnreachableError):
        await client.request("GET", "/x", timeout=60)
    server.silent.clear()
    await answers_again(client)


async def test_a_server_that_refuses_connections_is_asked_by_nobody_until_it_is_back(
    server: Server, client: KubeClient
) -> None:
    await client.request("GET", "/x")
    await server.leave()
    with pytest.raises(UnreachableError):
        await client.request("GET", "/x")
    with pytest.raises(UnreachableError):
        client._circuit.check()
    await server.start()
    await answers_again(client)


async def test_one_request_that_hangs_is_its_own_trouble(server: Server, client: KubeClient) -> None:
    """As an object's is whose admission webhook is slow; even if such requests hold every connection."""
    hanging = [asyncio.create_task(client.request("PATCH", "/hangs", body=b"{}", timeout=2)) for _ in range(4)]
    await until(lambda: "/livez" in server.asked)
    errors = await asyncio.gather(*hanging, return_exceptions=True)
    assert {type(error) for error in errors} == {RequestTimeoutError}
    assert (await client.request("GET", "/x")).status == 200


async def test_a_time_out_too_short_for_suspicion_raises_it(server: Server, client: KubeClient) -> None:
    server.silent.set()
    with pytest.raises(RequestTimeoutError):
        await client.request("PATCH", "/x", body=b"{}", timeout=0.1)
    with pytest.raises(UnreachableError):
        await client.request("PATCH", "/x", body=b"{}", timeout=30)


async def test_a_port_that_takes_connections_and_never_answers_is_unreachable_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The TLS handshake hangs: what a dead host behind a load balancer looks like."""
    monkeypatch.setattr(transport, "CONNECT_SECONDS", 2.0)
    taken: list[asyncio.StreamWriter] = []
    listener = await asyncio.start_server(lambda _, writer: taken.append(writer), "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    client = KubeClient(f"https://127.0.0.1:{port}", context=ssl.create_default_context())
    with pytest.raises(UnreachableError, match="no connection within 2 s"):
        await asyncio.wait_for(client.request("GET", "/x"), 20)
    with pytest.raises(UnreachableError):
        await asyncio.wait_for(client.request("GET", "/x"), 1)
    await client.close()
    for writer in taken:
        writer.close()
    listener.close()
    await listener.wait_closed()


async def test_an_answer_of_any_kind_is_an_answer(server: Server, client: KubeClient) -> None:
    """`/livez` says 401 here: a server that refuses us is there."""
    with pytest.raises(ApiError):
        await client.request("GET", "/livez")
    assert await client._answers()
