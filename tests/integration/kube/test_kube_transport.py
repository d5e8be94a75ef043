"""What a client does when the server is slow, busy, failing or away: a stub that speaks HTTP, over real connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from windlass.errors import LeaseLostError
from workers.kube.errors import ApiError, RequestTimeoutError, UnreachableError
from workers.kube.transport import KubeClient

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Stub:
    """A server that gives ``answers`` in turn, the last one for ever; it keeps what it was asked."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.answers: list[Handler] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        return await self.answers[min(len(self.requests), len(self.answers)) - 1](request)


def answer(status: int, body: str = "{}", **headers: str) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=body, headers=headers, content_type="application/json")

    return handler


async def hang(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response()


async def drop(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@pytest.fixture
def stub() -> Stub:
    return Stub()


@pytest.fixture
async def client(stub: Stub) -> AsyncIterator[KubeClient]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", stub.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    client = KubeClient(f"http://127.0.0.1:{runner.addresses[0][1]}")
    yield client
    await client.close()
    await runner.cleanup()


async def test_429_is_obeyed_and_halves_what_is_sent_at_once(stub: Stub, client: KubeClient) -> None:
    stub.answers = [answer(429, **{"Retry-After": "1"}), answer(200)]
    before, started = client.limiter.limit, time.monotonic()
    assert (await client.request("PATCH", "/x", body=b"{}")).status == 200
    assert time.monotonic() - started >= 1.0
    assert client.limiter.limit <= before / 2 + 1
    assert stub.bodies == [b"{}", b"{}"]


async def test_a_429_that_asks_for_more_patience_than_there_is_says_when_to_come_back(
    stub: Stub, client: KubeClient
) -> None:
    stub.answers = [answer(429, '{"message": "slow down"}', **{"Retry-After": "3600"})]
    with pytest.raises(ApiError, match="slow down") as caught:
        await client.request("PATCH", "/x", body=b"{}")
    assert (caught.value.retry_after, caught.value.retryable, len(stub.requests)) == (3600.0, True, 1)


async def test_a_503_with_retry_after_was_not_handled_and_is_tried_again(stub: Stub, client: KubeClient) -> None:
    stub.answers = [answer(503, **{"Retry-After": "0"}), answer(200)]
    await client.request("PATCH", "/x", body=b"{}")
    assert len(stub.requests) == 2


@pytest.mark.parametrize(("method", "tries"), [("GET", 3), ("PATCH", 1), ("DELETE", 1)])
async def test_a_500_is_tried_again_for_reads_only(stub: Stub, client: KubeClient, method: str, tries: int) -> None:
    """That of a write may be the manifest's own fault: it is the object's error, and tried again much later."""
    stub.answers = [answer(500, '{"message": "boom"}')]
    with pytest.raises(ApiError, match="boom") as caught:
        await client.request(method, "/x")
    assert (len(stub.requests), caught.value.retryable) == (tries, True)


async def test_a_connection_that_breaks_is_tried_again_for_writes_too(stub: Stub, client: KubeClient) -> None:
    stub.answers = [drop, answer(200)]
    await client.request("PATCH", "/x", body=b"{}")
    assert len(stub.requests) == 2


async def test_a_server_that_is_away_is_unreachable_within_a_second(stub: Stub) -> None:
    client, started = KubeClient("http://127.0.0.1:1"), time.monotonic()
    with pytest.raises(UnreachableError):
        await client.request("PATCH", "/x", body=b"{}")
    await client.close()
    assert time.monotonic() - started < 1.0


async def test_no_request_outlives_the_lease_on_either_side(stub: Stub, client: KubeClient) -> None:
    stub.answers = [hang]
    started = time.monotonic()
    with pytest.raises(RequestTimeoutError) as caught:
        await client.request("PATCH", "/x", params={"force": "false"}, body=b"{}", timeout=10, deadline=lambda: 0.8)
    assert time.monotonic() - started < 1.0
    assert caught.value.retryable
    assert dict(stub.requests[0].query) == {"force": "false", "timeout": "600ms"}


async def test_nothing_is_sent_when_the_lease_has_run_out(stub: Stub, client: KubeClient) -> None:
    with pytest.raises(LeaseLostError):
        await client.request("PATCH", "/x", body=b"{}", deadline=lambda: 0.0)
    assert stub.requests == []


async def test_a_retry_asks_again_what_is_left_of_the_lease(stub: Stub, client: KubeClient) -> None:
    stub.answers = [answer(503, **{"Retry-After": "0"})]
    left = iter([5.0, 4.0])
    with pytest.raises(LeaseLostError):
        await client.request("PATCH", "/x", body=b"{}", deadline=lambda: next(left, 0.0))
    assert [request.query["timeout"] for request in stub.requests] == ["4800ms", "3800ms"]


async def test_a_redirect_is_not_followed_so_that_no_token_goes_astray(stub: Stub, client: KubeClient) -> None:
    stub.answers = [answer(302, Location="http://127.0.0.1:1/")]
    with pytest.raises(ApiError, match="302"):
        await client.request("GET", "/x")


async def test_a_token_that_was_refused_is_read_anew_once(stub: Stub, client: KubeClient) -> None:
    stub.answers = [answer(401), answer(200)]
    asked: list[bool] = []

    async def authorize(fresh: bool) -> str:
        asked.append(fresh)
        return f"Bearer {'new' if fresh else 'old'}"

    authorized = KubeClient(client.server, authorize=authorize)
    await authorized.request("GET", "/x")
    assert asked == [False, True]
    assert [request.headers["Authorization"] for request in stub.requests] == ["Bearer old", "Bearer new"]

    stub.answers = [answer(401, '{"message": "Unauthorized"}')]
    with pytest.raises(ApiError, match="Unauthorized"):
        await authorized.request("GET", "/x")
    await authorized.close()


async def test_a_page_of_a_proxy_instead_of_a_status_is_an_error_with_its_code(stub: Stub, client: KubeClient) -> None:
    stub.answers = [answer(502, "<html>bad gateway</html>")]
    with pytest.raises(ApiError, match="HTTP 502"):
        await client.request("PATCH", "/x", body=b"{}")


async def test_a_watch_gives_whole_events_however_they_are_cut(stub: Stub, client: KubeClient) -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for part in (b'{"type":"AD', b'DED"}\n{"type":"MODIFIED"}\n{"ty', b'pe":"DELETED"}\n'):
            await response.write(part)
            await asyncio.sleep(0.01)
        return response

    stub.answers = [stream]
    events = [event["type"] async for event in client.watch("/x", params={"resourceVersion": "1"}, seconds=5)]
    assert events == ["ADDED", "MODIFIED", "DELETED"]
    assert dict(stub.requests[0].query) == {"resourceVersion": "1", "watch": "true", "timeoutSeconds": "5"}


async def test_a_watch_that_is_refused_is_an_error(stub: Stub, client: KubeClient) -> None:
    stub.answers = [answer(410, '{"message": "too old"}')]
    with pytest.raises(ApiError, match="too old"):
        async for _ in client.watch("/x", params={}, seconds=5):
            pass
