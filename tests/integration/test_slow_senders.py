"""Connections that are slow, idle or half a request keep out nobody who sends: the service itself, over loopback."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.parts.windlass import Windlass, application, cluster, repository
from tests.webhooks import sample, signed

pytestmark = pytest.mark.integration

KIB = 1024
HEAD = "POST /webhooks/shop HTTP/1.1\r\nHost: windlass\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + "Transfer-Encoding: chunked\r\n\r\n"
ITEM = sample("gitea-push")
PROMPTLY = 20.0
"""Seconds, of a busy machine: less than the 30 that a body's turn may take; without others it takes milliseconds."""


@pytest.fixture(scope="module")
def windlass(redis_server: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Windlass]:
    """`windlass service`, a process of its own, with one repository."""
    folder: Path = tmp_path_factory.mktemp("slow")
    installation = Windlass(folder, redis_server.url)  # type: ignore[attr-defined]
    installation.write(
        repository("shop", "http://git.example:3000/shop/manifests.git"),
        cluster("local", "/nowhere"),
        application("shop", repository="shop", namespace="x"),
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (256, hard)
    )  # what the service is started with, not what it is left with
    try:
        installation.start_service()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    yield installation
    installation.stop()


@asynccontextmanager
async def connections(windlass: Windlass, count: int, first: bytes) -> AsyncIterator[list[asyncio.StreamReader]]:
    """Connections that have sent ``first``, and then say nothing."""
    pairs = [await asyncio.open_connection("127.0.0.1", windlass.port) for _ in range(count)]
    try:
        for _, writer in pairs:
            writer.write(first)
        await asyncio.gather(*[writer.drain() for _, writer in pairs])
        yield [reader for reader, _ in pairs]
    finally:
        for _, writer in pairs:
            writer.close()


async def push(windlass: Windlass, size: int, *, chunked: bool = False, pieces: int = 4) -> int:
    """A signed push of ``size`` bytes, in pieces, as over a long way; the status, 0 if it wasn't answered promptly."""
    body = ITEM.raw + b" " * (size - len(ITEM.raw))

    async def parts() -> AsyncIterator[bytes]:
        for number in range(pieces):
            yield body[size * number // pieces : size * (number + 1) // pieces]
            await asyncio.sleep(0.01)

    headers = signed(ITEM, windlass.secret.encode(), body)
    if not chunked:
        headers["Content-Length"] = str(size)
    try:
        async with (
            asyncio.timeout(PROMPTLY),
            aiohttp.ClientSession() as session,
            session.post(f"{windlass.url}/webhooks/shop", data=parts(), headers=headers) as answer,
        ):
            return answer.status
    except TimeoutError:
        return 0


async def status(reader: asyncio.StreamReader) -> int:
    """Of the answer on a connection; 0 if it ends without one."""
    line = await asyncio.wait_for(reader.readline(), 60)
    return int(line.split(b" ")[1]) if line else 0


def begun(head: str, size: int) -> bytes:
    """A request that has sent ``size`` bytes of its body."""
    chunk = b"%x\r\n" % size + b"x" * size + b"\r\n" if "chunked" in head else b"x" * size
    return head.encode() + (chunk if size else b"")


@pytest.mark.parametrize("size", [20 * KIB, 48 * KIB, 1024 * KIB])
@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
async def test_idle_chunked_bodies(windlass: Windlass, size: int, chunked: bool) -> None:
    async with connections(windlass, 20, CHUNKED.encode()):
        assert await push(windlass, size, chunked=chunked) in (200, 202)


@pytest.mark.parametrize("declared", [48 * KIB, 256 * KIB, 4096 * KIB])
async def test_bodies_that_broke_off_once_they_held_room(windlass: Windlass, declared: int) -> None:
    first = begun(HEAD + f"Content-Length: {declared}\r\n\r\n", 33 * KIB)
    async with connections(windlass, 100, first):
        assert await push(windlass, 48 * KIB) in (200, 202)


async def test_an_endless_body_that_pauses_lets_the_next_one_through(windlass: Windlass) -> None:
    async with connections(windlass, 2, begun(CHUNKED, 33 * KIB)):
        assert await push(windlass, 48 * KIB, chunked=True) in (200, 202)
        assert await push(windlass, 1024 * KIB) in (200, 202)


@pytest.mark.parametrize("sent", [0, 1])
async def test_more_idle_connections_than_may_send_at_once(windlass: Windlass, sent: int) -> None:
    async with connections(windlass, 600, begun(HEAD + "Content-Length: 100\r\n\r\n", sent)):
        assert await asyncio.gather(*[push(windlass, 20 * KIB) for _ in range(10)]) in ([200] * 10, [202] * 10)


async def test_a_body_that_does_not_begin_is_given_up_and_the_connection_ends(windlass: Windlass) -> None:
    async with connections(windlass, 1, (HEAD + "Content-Length: 100\r\n\r\n").encode()) as (reader,):
        assert await status(reader) == 408
        assert b"Connection: close" in await asyncio.wait_for(reader.read(), 60)


async def test_a_body_that_trickles_is_given_up(windlass: Windlass) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", windlass.port)
    writer.write((HEAD + "Content-Length: 100000\r\n\r\n").encode())
    answer = asyncio.create_task(status(reader))
    while not answer.done():
        writer.write(b"x")
        await asyncio.sleep(0.1)
    assert await answer == 408
    writer.close()


@pytest.mark.parametrize("begun", ["", "POST /webh", HEAD, "GET /healthz HTTP/1.1\r\n\r\n" * 3 + "POST"])
async def test_half_a_request(windlass: Windlass, begun: str) -> None:
    async with connections(windlass, 600, begun.encode()):
        assert await push(windlass, 48 * KIB) in (200, 202)
