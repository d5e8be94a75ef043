"""Which addresses a document may have Windlass call (SSRF): public ones, and private ones where that is the point; never a
cloud's metadata, nor what is link-local.

What must hold: a name is judged after it was resolved, and the connection goes to the very address that was judged.
"""

from __future__ import annotations

import ipaddress
import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

NOT_PUBLIC = "the address is not one of the public Internet"
REFUSED = "the address is link-local, or a cloud's metadata: nothing is asked of it"
_METADATA = frozenset(
    map(ipaddress.ip_address, ("169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254"))
)
"""AWS, Google, Azure and most others; Azure's host; Alibaba; Oracle's second; AWS by IPv6."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class RefusedAddressError(OSError):
    """The address may not be called."""


def allowed(address: str, *, private: bool) -> bool:
    """May this IP address be called?

    :raises ValueError: it is none, but a name.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    found = mapped or found
    if found in _METADATA or found.is_link_local or found.is_multicast or found.is_unspecified:
        return False
    if isinstance(found, ipaddress.IPv6Address) and (found.sixtofour or found.teredo or found in _NAT64):
        return False  # an IPv4 address in disguise
    return found.is_global or (private and (found.is_private or found.is_loopback))


def judge(host: str, *, private: bool) -> None:
    """Judge an address as it is written; a name is judged when it is resolved.

    :raises RefusedAddressError: it may not be called.
    """
    try:
        literal = allowed(host, private=private)
    except ValueError:
        return
    if not literal:
        raise RefusedAddressError(REFUSED if private else NOT_PUBLIC)


def guarded(*, private: bool, seconds: float) -> aiohttp.ClientSession:
    """A session that calls what may be called, a redirect's target too; it keeps no cookies, and no proxy is asked.

    Whatever else is called raises an error of which `refused` is true.
    """

    async def judged(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        judge(request.url.host or "", private=private)  # an address as it is written is not resolved
        return await handler(request)

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=_Judging(private), use_dns_cache=False, limit=32),
        middlewares=(judged,),
        timeout=aiohttp.ClientTimeout(total=seconds),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )


class _Judging(AbstractResolver):
    """Resolves names to the addresses that may be called; the connection is made to exactly those."""

    def __init__(self, private: bool) -> None:
        self._private, self._resolver = private, DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        for one in found:
            judge(one["host"], private=self._private)
        return found

    async def close(self) -> None:
        await self._resolver.close()


def refused(error: BaseException | None) -> bool:
    """Is it that the address may not be called?"""
    while error is not None:
        if isinstance(error, RefusedAddressError):
            return True
        error = error.__cause__ or error.__context__
    return False
