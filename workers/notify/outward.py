"""The one way out of notifications: a POST to an address that is public, unless the document says that it may be private.

What must hold (SSRF): the address is judged after it was resolved, and the connection goes to the very address that was judged;
no redirect is followed; a cloud's metadata is never reached. The URL is a secret: it is in no error and no log.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver
from yarl import URL

from windlass.errors import PermanentError, TransientError
from windlass.forges.calls import retry_after
from workers.notify.formats import Request

SECONDS = 10.0
LARGEST = 4096
"""Bytes of an answer that are looked at."""
_METADATA = frozenset(
    map(ipaddress.ip_address, ("169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254"))
)
"""AWS, Google, Azure and most others; Azure's host; Alibaba; Oracle's second; AWS by IPv6."""
_TRANSIENT = frozenset({408, 425, 429})


class RefusedAddressError(OSError):
    """The address may not be called."""


class Answer(NamedTuple):
    status: int
    text: str


class Outward:
    """Two sessions, opened when first needed: to public addresses, and to private ones too."""

    def __init__(self) -> None:
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def post(self, url: str, request: Request, *, private: bool) -> Answer:
        """Send it.

        :raises PermanentError: the address may not be called, or the receiver would refuse the same again.
        :raises TransientError: worth trying again, after ``retry_after`` seconds where the receiver named a time.
        """
        target = _target(url, private)
        try:
            async with self._session(private).post(
                target, data=request.body, headers=request.headers, allow_redirects=False
            ) as answer:
                found = Answer(answer.status, (await answer.content.read(LARGEST)).decode("utf-8", "replace"))
                wait = retry_after(answer.headers)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if _refused(error):
                raise PermanentError(f"{NOT_PUBLIC}{'' if private else HOW}") from None
            raise TransientError(f"the receiver can't be reached: {type(error).__name__}") from None
        _judge(found, wait)
        return found

    def _session(self, private: bool) -> aiohttp.ClientSession:
        if private not in self._sessions:
            connector = aiohttp.TCPConnector(resolver=_Judging(private), use_dns_cache=False, limit=32)
            self._sessions[private] = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._sessions[private]

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()


NOT_PUBLIC = "the address is not one of the public Internet"
HOW = " (`private: true` allows private ones)"


def allowed(address: str, *, private: bool) -> bool:
    """May this IP address be called?"""
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    found = mapped or found
    if found in _METADATA or found.is_link_local or found.is_multicast or found.is_unspecified:
        return False
    if isinstance(found, ipaddress.IPv6Address) and (found.sixtofour or found.teredo or found in _NAT64):
        return False  # an IPv4 address in disguise
    return found.is_global or (private and (found.is_private or found.is_loopback))


_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class _Judging(AbstractResolver):
    """Resolves names to the addresses that may be called; the connection is made to exactly those."""

    def __init__(self, private: bool) -> None:
        self._private, self._resolver = private, DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if not all(allowed(one["host"], private=self._private) for one in found):
            raise RefusedAddressError(NOT_PUBLIC)
        return found

    async def close(self) -> None:
        await self._resolver.close()


def _target(url: str, private: bool) -> URL:
    """:raises PermanentError: it is no address to call."""
    try:
        target = URL(url.strip(), encoded=True)
        host, scheme = target.host, target.scheme
    except ValueError:
        host = scheme = None
    if not host or scheme not in ("http", "https"):
        raise PermanentError("the secret is not an http(s) URL")
    if scheme == "http" and not private:
        raise PermanentError("the URL is not https (`private: true` allows http)")
    try:
        literal = allowed(host, private=private)
    except ValueError:
        return target  # a name, which is judged when it is resolved
    if not literal:
        raise PermanentError(f"{NOT_PUBLIC}{'' if private else HOW}")
    return target


def _refused(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, RefusedAddressError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _judge(answer: Answer, wait: float | None) -> None:
    """Teams' connectors say 200 also of what was throttled, and the error in the text."""
    status = answer.status
    if status == 200 and answer.text.startswith("Webhook message delivery failed"):
        status = 429 if "429" in answer.text else 400
    if status < 300:
        return
    if status in _TRANSIENT or status >= 500:
        raise TransientError(f"the receiver answers {status}", retry_after=wait)
    if status < 400:
        raise PermanentError(f"the receiver answers {status}: redirects are not followed")
    raise PermanentError(f"the receiver answers {status}{_word(answer.text)}")


def _word(text: str) -> str:
    """A chat's error in one word (``invalid_payload``); anything longer may repeat what was sent."""
    word = text.strip()
    return f": {word}" if len(word) <= 40 and word.replace("_", "").isalpha() and word.isascii() else ""
