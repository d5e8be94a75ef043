"""Git's smart HTTP on one warm aiohttp connection: the advertisement once, then one POST a question.

What must hold: a redirect never leaves the origin, the ``Authorization`` header goes to that origin only, no proxy or
netrc of the environment is used, and every answer is bounded in time and bytes. All requests only read, so one that
fails because a kept connection had died is sent once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urljoin, urlsplit

import aiohttp
import structlog

from workers.aiogit import protocol
from workers.aiogit.address import Address
from workers.aiogit.errors import AuthenticationError, GitError, GitTimeoutError, ProtocolError, RefusedUrlError
from workers.aiogit.gitcli import basic_authorization
from workers.aiogit.model import Limits, Remote
from workers.aiogit.pktline import Frame, FrameReader
from workers.aiogit.protocol import Capabilities

log = structlog.get_logger(__name__)

KEEP_ALIVE_SECONDS = 600.0
_CONNECT_SECONDS = 10.0
_SUFFIX = "/info/refs?service=git-upload-pack"
_REDIRECTS = 3


def new_session() -> aiohttp.ClientSession:
    """A session for one peer. Cookies, proxies and netrc play no part."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=8, keepalive_timeout=KEEP_ALIVE_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )


class SmartHttp:
    """One repository's smart HTTP endpoint."""

    def __init__(self, session: aiohttp.ClientSession, address: Address, remote: Remote, limits: Limits) -> None:
        self._session, self._address, self._limits = session, address, limits
        self._base = address.url
        self._headers = {"Git-Protocol": "version=2", "Accept-Encoding": "identity", "User-Agent": protocol.AGENT}
        if authorization := basic_authorization(remote):
            self._headers["Authorization"] = authorization
            if address.scheme == "http" and address.host not in ("localhost", "127.0.0.1", "::1"):
                log.warning("git.insecure", url=str(address), reason="credentials over plain http")
        self._known: tuple[Capabilities | None] | None = None

    def forget(self) -> None:
        """Ask for the server's capabilities again next time."""
        self._known = None

    async def capabilities(self) -> Capabilities | None:
        """What the server can do, asked once; None when it does not speak protocol version 2.

        :raises GitError: :raises RefusedRepositoryError: see :func:`protocol.parse_advertisement`.
        """
        if self._known is None:
            async with self._in_time():
                self._known = (await self._probe(),)
        return self._known[0]

    async def _probe(self) -> Capabilities | None:
        for _ in range(_REDIRECTS):
            async with self._request("GET", self._base + _SUFFIX) as answer:
                if answer.status in (301, 302, 303, 307, 308):
                    self._base = self._redirected(answer.headers.get("Location", ""))
                    continue
                self._check(answer)
                if answer.content_type != "application/x-git-upload-pack-advertisement":
                    return None
                return protocol.parse_advertisement(await self._all_frames(answer))
        raise GitError(f"{self._address} redirects in a circle")

    def _redirected(self, location: str) -> str:
        """The new base, when it is the same origin; what git itself accepts: only the part before ``/info/refs`` may
        differ."""
        target = urljoin(self._base + _SUFFIX, location)
        if not target.startswith(self._address.origin + "/"):
            host = urlsplit(target).hostname or "another address"
            raise RefusedUrlError(f"{self._address} redirects to {host}: not followed; name the final address instead")
        if not target.endswith(_SUFFIX):
            raise ProtocolError(f"{self._address} redirects to something that is no repository")
        return target.removesuffix(_SUFFIX)

    async def ls_refs(self, capabilities: Capabilities, *prefixes: str) -> dict[str, str]:
        """See :func:`protocol.parse_refs`."""
        async with self._in_time(), self._post(protocol.ls_refs_request(capabilities, *prefixes)) as answer:
            return protocol.parse_refs(await self._all_frames(answer))

    async def fetch(self, capabilities: Capabilities, want: str, haves: list[str]) -> AsyncGenerator[bytes, None]:
        """The pack's bytes, piece by piece. The caller bounds time and bytes, and closes the generator.

        :raises GitError: and its kinds, also while iterating.
        """
        reader, section = FrameReader(), protocol.FetchAnswer(self._limits.answer_bytes)
        async with self._post(protocol.fetch_request(capabilities, want, haves)) as answer:
            async for data in answer.content.iter_any():
                for piece in section.feed(reader.feed(data)):
                    yield piece
        if not section.complete or not reader.clean:
            raise ProtocolError("the server's answer ends too early")

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._limits.tip_seconds):
                yield
        except TimeoutError:
            self.forget()
            raise GitTimeoutError(f"{self._address} did not answer within {self._limits.tip_seconds:g} s") from None

    @asynccontextmanager
    async def _post(self, body: bytes) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {
            "Content-Type": "application/x-git-upload-pack-request",
            "Accept": "application/x-git-upload-pack-result",
        }
        async with self._request("POST", self._base + "/git-upload-pack", headers, body) as answer:
            if answer.status in (301, 302, 303, 307, 308):
                self.forget()
                raise GitError(f"{self._address} redirects a request that it took before")
            self._check(answer)
            if answer.content_type != "application/x-git-upload-pack-result":
                self.forget()
                raise ProtocolError("the server's answer is not Git's")
            yield answer

    @asynccontextmanager
    async def _request(
        self, method: str, url: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            answer = await self._send(method, url, {**self._headers, **(headers or {})}, body)
            async with answer:
                yield answer
        except (aiohttp.ClientError, OSError) as error:
            self.forget()
            raise GitError(f"{self._address} can't be reached: {type(error).__name__}") from error

    async def _send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> aiohttp.ClientResponse:
        """Once more when the kept connection turned out to be dead; nothing was answered then, and nothing is
        changed."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
        for last in (False, True):
            try:
                return await self._session.request(
                    method, url, headers=headers, data=body, allow_redirects=False, timeout=timeout
                )
            except (aiohttp.ServerDisconnectedError, ConnectionResetError, aiohttp.ClientOSError) as error:
                if last or isinstance(error, aiohttp.ClientConnectorError):
                    raise
        raise AssertionError

    def _check(self, answer: aiohttp.ClientResponse) -> None:
        status = answer.status
        if status == 200:
            return
        self.forget()
        if status in (401, 403):
            raise AuthenticationError(f"{self._address} did not accept the credentials ({status})")
        if status == 404:
            raise GitError(f"{self._address} does not exist, or the credentials may not see it")
        after = answer.headers.get("Retry-After", "")
        raise GitError(
            f"{self._address} answered {status}", retry_after=min(float(after), 600.0) if after.isdigit() else None
        )

    async def _all_frames(self, answer: aiohttp.ClientResponse) -> list[Frame]:
        reader, frames, left = FrameReader(), list[Frame](), self._limits.answer_bytes
        async for data in answer.content.iter_any():
            left -= len(data)
            if left < 0:
                raise GitError(f"{self._address} talks without an end")
            frames += reader.feed(data)
        if not reader.clean:
            raise ProtocolError("the server's answer ends too early")
        return frames
