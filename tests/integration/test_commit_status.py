"""Commit statuses over HTTP: what is sent, where a token may go, and what is made of every answer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.parts.process import free_port
from windlass.documents.types import Repository, RepositorySpec, StatusApi
from windlass.errors import PermanentError, TransientError
from windlass.forges.status import post_status

pytestmark = pytest.mark.integration

COMMIT, TOKEN = "b" * 40, "t0ken-of-the-test"


class Forge:
    """An HTTP server that answers as it is told and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str | None, dict[str, Any]]] = []
        self.answers: list[web.Response] = []
        self.port = 0

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append((request.path, request.headers.get("Authorization"), await request.json()))
        return self.answers.pop(0) if self.answers else web.json_response({}, status=201)


@pytest.fixture
async def forges() -> AsyncIterator[tuple[Forge, Forge]]:
    """Two of them, on two ports."""
    pair, runners = (Forge(), Forge()), []
    for forge in pair:
        app = web.Application()
        app.router.add_post("/{path:.*}", forge.handle)
        runner = web.AppRunner(app)
        await runner.setup()
        forge.port = free_port()
        await web.TCPSite(runner, "127.0.0.1", forge.port).start()
        runners.append(runner)
    yield pair
    for runner in runners:
        await runner.cleanup()


async def post(forge: Forge, name: str = "gitea", token: str = TOKEN) -> None:
    url = f"http://127.0.0.1:{forge.port}"
    api = {"github": f"{url}/api/v3/", "gitlab": f"{url}/api/v4"}.get(name)
    spec = RepositorySpec(url=f"{url}/shop/manifests.git", forge=name, status=StatusApi(api=api))  # type: ignore[arg-type]
    async with aiohttp.ClientSession() as session:
        await post_status(
            session,
            Repository("shop", spec),
            COMMIT,
            state="success",
            context="windlass/production",
            description="2 applications applied in 31 ms",
            target_url=None,
            token=token,
        )


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("gitea", f"/api/v1/repos/shop/manifests/statuses/{COMMIT}"),
        ("github", f"/api/v3/repos/shop/manifests/statuses/{COMMIT}"),
        ("gitlab", f"/api/v4/projects/shop%2Fmanifests/statuses/{COMMIT}"),
    ],
)
async def test_it_is_said_once(forges: tuple[Forge, Forge], name: str, path: str) -> None:
    await post(forges[0], name)
    ((asked, authorization, body),) = forges[0].requests
    assert asked in (path, path.replace("%2F", "/"))
    assert authorization is not None
    assert TOKEN in authorization
    assert body["state"] == "success"
    assert "target_url" not in body


async def test_a_redirect_to_another_host_gets_no_token(forges: tuple[Forge, Forge]) -> None:
    here, there = forges
    for status in (301, 302, 303, 307, 308):
        here.answers = [web.Response(status=status, headers={"Location": f"http://127.0.0.1:{there.port}/steal"})]
        with pytest.raises(PermanentError) as error:
            await post(here)
        assert TOKEN not in str(error.value)
    assert there.requests == []


async def test_a_renamed_repository_is_followed_on_the_same_host(forges: tuple[Forge, Forge]) -> None:
    here, _ = forges
    here.answers = [web.Response(status=307, headers={"Location": "/repositories/7/statuses"})]
    await post(here, "github")
    assert [path for path, _, _ in here.requests][1] == "/repositories/7/statuses"
    here.answers = [web.Response(status=307, headers={"Location": "/again"}) for _ in range(9)]
    with pytest.raises(PermanentError, match="redirects"):
        await post(here)


@pytest.mark.parametrize(
    ("status", "headers", "low", "high"),
    [
        (429, {"Retry-After": "7"}, 7, 7),
        (403, {"Retry-After": "60"}, 60, 60),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "{in 30 s}"}, 25, 31),
        (503, {"Retry-After": "{date in 30 s}"}, 25, 31),
        (503, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 1, 1),
        (429, {"Retry-After": "999999999"}, 3600, 3600),
        (503, {"Retry-After": "soon"}, None, None),
        (500, {}, None, None),
        (409, {}, None, None),
    ],
)
async def test_what_is_worth_trying_again_says_when(
    forges: tuple[Forge, Forge], status: int, headers: dict[str, str], low: float | None, high: float | None
) -> None:
    later = time.time() + 30
    words = {"{in 30 s}": str(int(later)), "{date in 30 s}": formatdate(later, usegmt=True)}
    answer = web.Response(status=status, headers={name: words.get(value, value) for name, value in headers.items()})
    forges[0].answers = [answer]
    with pytest.raises(TransientError) as error:
        await post(forges[0])
    wait = error.value.retry_after
    assert wait is None if low is None or high is None else wait is not None and low <= wait <= high


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 422])
async def test_what_is_refused_is_reduced_to_the_forges_own_line(forges: tuple[Forge, Forge], status: int) -> None:
    message = f"Bad credentials {TOKEN}\n" + "x" * 3000
    forges[0].answers = [web.json_response({"message": message, "secret": "value"}, status=status)]
    with pytest.raises(PermanentError) as error:
        await post(forges[0])
    text = str(error.value)
    assert str(status) in text
    assert "Bad credentials" in text
    assert TOKEN not in text
    assert "value" not in text
    assert len(text) < 300
    assert "\n" not in text


async def test_gitlab_saying_it_already_says_so_is_no_error(forges: tuple[Forge, Forge]) -> None:
    message = 'Cannot transition status via :enqueue from :pending (Reason(s): Status cannot transition via "enqueue")'
    forges[0].answers = [web.json_response({"message": message}, status=400)]
    await post(forges[0], "gitlab")


async def test_a_forge_that_is_away_is_transient(forges: tuple[Forge, Forge]) -> None:
    away = Forge()
    away.port = free_port()
    with pytest.raises(TransientError):
        await post(away)


async def test_a_token_of_two_lines_is_refused_without_being_told(forges: tuple[Forge, Forge]) -> None:
    with pytest.raises(PermanentError) as error:
        await post(forges[0], token="t0ken\r\nX-Evil: 1")
    assert "t0ken" not in str(error.value)
    assert forges[0].requests == []
