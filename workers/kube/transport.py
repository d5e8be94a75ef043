"""HTTP to one API server: one warm session, explicit time limits, and the whole retry policy in one place.

What must hold: no request outlives what is left of the caller's lease, on our side nor (``?timeout=``) on the server's;
every write that Windlass makes is safe to repeat (server-side apply, or guarded by uid and resourceVersion), so a
connection that broke is tried again; and neither bodies nor credentials are ever logged.
"""

from __future__ import annotations

import asyncio
import copy
import random
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import aiohttp
import orjson
import structlog
from multidict import CIMultiDictProxy
from yarl import URL

from windlass import metrics
from windlass.errors import LeaseLostError
from workers.kube.circuit import Circuit
from workers.kube.connections import Pool
from workers.kube.errors import ApiError, RequestTimeoutError, UnreachableError, from_answer
from workers.kube.limiter import AdaptiveLimiter

log = structlog.get_logger(__name__)

METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

IMPERSONATE = "Impersonate-User"

DEFAULT_TIMEOUT = 30.0
LEASE_MARGIN = 0.2
"""Seconds of a lease that are left unused: the answer's way back, and the server's clock."""
CONNECT_TRIES = 3
CONNECT_SECONDS = 5.0
"""For a new connection, its TLS handshake included; and for an answer to "are you there?"."""
SERVER_ERROR_TRIES = 3
THROTTLED_PATIENCE = 30.0
"""Seconds for which 429 and 503 with a Retry-After are obeyed before they are an error."""
FIRST_BACKOFF = 0.1
SLICE_SECONDS = 0.008
"""How long the events of one watch may hold the loop before others get their turn."""
QUIET_SECONDS = 90.0
"""A watch that says nothing for so long is taken for dead: a bookmark comes about once a minute."""

Deadline = Callable[[], float]
"""Seconds left of the lease under which a request is made, at this moment."""
Authorize = Callable[[bool], Awaitable[str | None]]
"""The Authorization header's value; with True a fresh one, because the server refused the last."""


class Answer(NamedTuple):
    """A successful answer; the body is parsed only if it is asked for."""

    status: int
    body: bytes
    headers: CIMultiDictProxy[str]

    def json(self) -> Any:
        return orjson.loads(self.body)


class KubeClient:
    """The connection to one API server, and (`limiter`) how fast it takes writes; `acting_as` is another user's view of it."""

    def __init__(
        self,
        server: str,
        *,
        context: ssl.SSLContext | None = None,
        authorize: Authorize | None = None,
        server_name: str | None = None,
        proxy: str | None = None,
        max_concurrent_requests: int = 32,
    ) -> None:
        """``context`` is None only for plain http (tests). The session starts with the first request, in its loop."""
        self.server = server.rstrip("/")
        self.limiter = AdaptiveLimiter(max_concurrent_requests)
        self._authorize, self._server_name, self._proxy = authorize, server_name, proxy
        self._pool = Pool(context, max(1, max_concurrent_requests))
        self._circuit = Circuit(self.server, self._answers, self._pool.close)
        self._identity: dict[str, str] = {}

    def acting_as(self, user: str) -> KubeClient:
        """The same connections and limiter, as ``user``: the API server allows what that user may, and nothing more.

        No groups are sent, so that Windlass needs no right to impersonate any: the API server knows those of a service
        account (`system:serviceaccounts`, the namespace's, `system:authenticated`) and adds them.
        """
        if not user:
            raise ValueError("an empty user would be Windlass itself")
        view = copy.copy(self)
        view._identity = {IMPERSONATE: user}
        return view

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        timeout: float = DEFAULT_TIMEOUT,
        deadline: Deadline | None = None,
    ) -> Answer:
        """One request, tried again where that can help; ``path`` is already quoted (see `segment`).

        :param timeout: seconds for each try, cut to what ``deadline`` says is left.
        :raises ApiError: the server's answer is an error, or there was none in time (`RequestTimeoutError`).
        :raises UnreachableError: no connection.
        :raises LeaseLostError: nothing is left of the lease.
        """
        headers = {"Accept": accept, **self._identity}
        if body is not None:
            headers["Content-Type"] = content_type
        query = f"{urlencode(params)}&" if params else ""
        policy = _Retries(self._circuit, reading=method == "GET")
        while True:
            seconds = _limited(timeout, deadline)
            url = URL(f"{self.server}{path}?{query}timeout={int(seconds * 1000)}ms", encoded=True)
            try:
                answer = await self._once(method, url, headers, body, seconds, fresh=policy.unauthorized)
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
                if isinstance(error, aiohttp.SocketTimeoutError):
                    raise _timed_out(method, seconds) from error
                await policy.after_connection_error(error)
                continue
            except TimeoutError as error:
                raise _timed_out(method, seconds) from error
            if answer.status < 300:
                return answer
            if answer.status == 429:
                self.limiter.throttled()
            await policy.after_refusal(answer, secret="/secrets" in path)

    async def _once(
        self, method: str, url: URL, headers: dict[str, str], body: bytes | None, seconds: float, *, fresh: bool
    ) -> Answer:
        self._circuit.check()
        if self._authorize is not None and (value := await self._authorize(fresh)):
            headers["Authorization"] = value
        started = time.perf_counter()
        async with (
            self._circuit.owing(),
            self._pool.session().request(
                method,
                url,
                data=body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS),
                allow_redirects=False,  # a redirect would carry the token to another host
                server_hostname=self._server_name,
                proxy=self._proxy,
            ) as response,
        ):
            answer = Answer(response.status, await response.read(), response.headers)
        metrics.API_REQUESTS.labels(method, answer.status).inc()
        if method != "GET" and answer.status < 300:
            self.limiter.answered(time.perf_counter() - started)
        return answer

    async def _answers(self) -> bool:
        """Does the server give any answer, even that we may not ask? By a new connection, whatever the others wait for."""
        timeout = aiohttp.ClientTimeout(total=CONNECT_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(connector=self._pool.connector(), timeout=timeout) as session,
                session.get(
                    f"{self.server}/livez",
                    allow_redirects=False,
                    server_hostname=self._server_name,
                    proxy=self._proxy,
                ),
            ):
                return True
        except (aiohttp.ClientError, OSError):
            return False

    async def watch(
        self, path: str, *, params: Mapping[str, str], seconds: float, accept: str = "application/json"
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The events of one watch, for at most ``seconds``; it just ends when the server or the connection does.

        Watches have connections of their own: they keep them, and writes must not wait for that.

        :raises ApiError: the server refused the watch (410 too: list again).
        """
        query = urlencode({**params, "watch": "true", "timeoutSeconds": str(max(1, int(seconds)))})
        url = URL(f"{self.server}{path}?{query}", encoded=True)
        self._circuit.check()
        try:
            for fresh in (False, True):
                async with self._opened_watch(url, accept, seconds, await self._header(fresh)) as response:
                    if response.status == 401 and not fresh:
                        continue
                    if response.status >= 300:
                        raise from_answer(response.status, await response.read(), secret="/secrets" in path)
                    async for event in _events(response):
                        yield event
                    return
        except (aiohttp.ClientError, TimeoutError) as error:
            log.debug("watch.ended", path=path, error=type(error).__name__)

    async def _header(self, fresh: bool) -> dict[str, str]:
        value = await self._authorize(fresh) if self._authorize is not None else None
        return {**self._identity, "Authorization": value} if value else self._identity

    def _opened_watch(
        self, url: URL, accept: str, seconds: float, headers: dict[str, str]
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._pool.watching().get(
            url,
            headers={"Accept": accept, **headers},
            timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS, sock_read=QUIET_SECONDS),
            allow_redirects=False,
            server_hostname=self._server_name,
            proxy=self._proxy,
        )

    async def close(self) -> None:
        """Close every connection, those of all views; a request after it opens new ones."""
        await self._circuit.close()
        await self._pool.close()


async def _events(response: aiohttp.ClientResponse) -> AsyncGenerator[dict[str, Any], None]:
    """The lines of a watch, parsed one by one, in slices: what has arrived already would never let others have a turn."""
    rest, slice_end = b"", 0.0
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in filter(None, lines):
            if time.monotonic() >= slice_end:
                await asyncio.sleep(0)
                slice_end = time.monotonic() + SLICE_SECONDS
            yield orjson.loads(line)


class _Retries:
    """What to do after each failed try of one request: wait and return (try again), or raise."""

    def __init__(self, circuit: Circuit, *, reading: bool) -> None:
        self.unauthorized = False
        self._circuit, self._reading = circuit, reading
        self._broken = self._failed = 0
        self._patience = THROTTLED_PATIENCE

    async def after_connection_error(self, error: Exception) -> None:
        self._broken += 1
        if self._broken >= CONNECT_TRIES or isinstance(error, aiohttp.ConnectionTimeoutError):
            self._circuit.failed(_reason(error))
            raise UnreachableError(f"the API server can't be reached: {_reason(error)}") from error
        metrics.API_RETRIES.labels("connection").inc()
        await _back_off(self._broken)

    async def after_refusal(self, answer: Answer, *, secret: bool) -> None:
        wait = _retry_after(answer)
        error = from_answer(answer.status, answer.body, secret=secret, retry_after=wait)
        if answer.status == 401 and not self.unauthorized:
            self.unauthorized = True
            metrics.API_RETRIES.labels("unauthorized").inc()
            return
        if answer.status == 429 or (answer.status == 503 and wait is not None):
            wait = (1.0 if wait is None else max(wait, 0.05)) * random.uniform(1.0, 1.25)  # noqa: S311 - spreads load
            if wait > self._patience:
                raise error
            self._patience -= wait
            metrics.API_RETRIES.labels("throttled").inc()
            await asyncio.sleep(wait)
            return
        if self._reading and answer.status >= 500:
            self._failed += 1
            if self._failed < SERVER_ERROR_TRIES:
                metrics.API_RETRIES.labels("server error").inc()
                await _back_off(self._failed)
                return
        raise error


def _limited(timeout: float, deadline: Deadline | None) -> float:
    if deadline is None:
        return timeout
    left = deadline() - LEASE_MARGIN
    if left <= 0:
        raise LeaseLostError("no time is left of the lease under which this would be written")
    return min(timeout, left)


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"no connection within {CONNECT_SECONDS:g} s"
    return str(error) or type(error).__name__


def _timed_out(method: str, seconds: float) -> ApiError:
    return RequestTimeoutError(f"{method}: no answer within {seconds:.1f} s", reason="Timeout")


def _retry_after(answer: Answer) -> float | None:
    """Seconds; the API server sends whole ones, never a date."""
    value = answer.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None


async def _back_off(tries: int) -> None:
    await asyncio.sleep(FIRST_BACKOFF * 2 ** (tries - 1) * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load


def segment(text: str) -> str:
    """``text`` as one segment of a path: some names (RBAC's) may hold anything but a slash and a percent sign."""
    return quote(text, safe=":@!$&'()*+,;=~")
