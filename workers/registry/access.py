"""How a registry is asked: with the credentials of its document, at its own host, and nowhere else.

What must hold: a user name and password go to the registry that the document names, and to a token service that it trusts, and no
redirect carries them on; what the registry says (the realm of a challenge, the next page's link, a redirect) chooses no server:
only blobs, asked for without credentials, may come from somewhere else, and that is a public address or a trusted host.
Specifications: opencontainers/distribution-spec; distribution.github.io, "Token Authentication Specification".
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
import socket
import time
from collections.abc import Collection, Mapping
from http import HTTPStatus

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver
from yarl import URL

from windlass.documents.registry import RegistrySpec
from windlass.errors import PermanentError, TransientError
from windlass.forges.calls import Answer, RefusedError, call
from windlass.registries.names import DOCKER_HUB
from windlass.secrets import Secrets

SECONDS = aiohttp.ClientTimeout(total=30)
TOKEN_SECONDS = 60.0
"""How long a token lives that doesn't say so; the specification's default."""
_HUB_API = "registry-1.docker.io"
_TOKEN_SERVICES = {DOCKER_HUB: "auth.docker.io", "registry.gitlab.com": "gitlab.com"}
"""Where well-known registries have theirs."""
_PARAMETER = re.compile(r'([A-Za-z]+)="([^"]*)"')
_REDIRECTS = (301, 302, 303, 307, 308)


class Access:
    """One registry, as one document says how to ask it."""

    def __init__(self, spec: RegistrySpec, secrets: Secrets) -> None:
        registry = spec.registry
        self.base = URL(
            spec.api.rstrip("/") if spec.api else f"https://{_HUB_API if registry == DOCKER_HUB else registry}"
        )
        self._login, self._secrets = spec.credentials, secrets
        self._trusted = {self.base.authority, *spec.trusted, *filter(None, [_TOKEN_SERVICES.get(registry)])}
        self._tokens: dict[str, tuple[str, float]] = {}
        self._basic = False  # asked for by the registry, once seen
        self._session, self._outside = _session(), _session(_PublicOnly())

    async def close(self) -> None:
        await self._session.close()
        await self._outside.close()

    async def ask(
        self, method: str, url: URL, scope: str, *, headers: Mapping[str, str], expected: Collection[int] = ()
    ) -> Answer:
        """The answer of the registry's own host, once it knows who asks. ``scope``: what a token is asked for.

        :raises RefusedError: it says no. :raises PermanentError: it wants to send us elsewhere.
        :raises TransientError: worth trying again, when it says.
        """
        if url.origin() != self.base.origin():
            raise PermanentError(f"{self.base.authority} sends us to {url.authority}")
        for last in (False, True):
            sent = {**headers, **self._authorization(scope)}
            answer = await call(
                self._session, method, str(url), headers=sent, secrets=_hidden(sent), expected=(401, *expected)
            )
            if answer.status != HTTPStatus.UNAUTHORIZED:
                return answer
            if not last:
                await self._authenticate(answer.headers.get("WWW-Authenticate", ""), scope)
        who = f"user {self._login.username}" if self._login else "everybody"
        raise RefusedError(f"{self.base.authority} lets not {who} {scope}", status=401, reason="")

    async def blob(self, path: str, digest: str, scope: str, most: int) -> bytes:
        """A blob's content, from wherever the registry has it; it is what its digest says, and of ``most`` bytes at most.

        :raises PermanentError: it isn't, or it is where we don't go. :raises TransientError: try again later.
        """
        url, session = self.base.joinpath(path.lstrip("/")), self._session
        headers = self._authorization(scope)
        try:
            for _ in range(3):
                async with session.get(url, headers=headers, allow_redirects=False) as answer:
                    if answer.status not in _REDIRECTS:
                        return await _content(answer, digest, most)
                    url = url.join(URL(answer.headers.get("Location", "")))
                session, headers = self._elsewhere(url), {}  # whatever it is: no credentials
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TransientError(f"{url.host}: {type(error).__name__}") from None
        except ValueError:
            raise PermanentError(f"{self.base.authority} redirects to what is no address") from None
        raise PermanentError(f"{self.base.authority} redirects too often")

    def _elsewhere(self, url: URL) -> aiohttp.ClientSession:
        """The session for a blob that is somewhere else."""
        if url.scheme not in ("https", self.base.scheme) or url.user is not None:
            raise PermanentError(f"{self.base.authority} redirects to {url.scheme}://{url.host}, which is not asked")
        if url.authority in self._trusted:
            return self._session
        if url.host is None or not _may_be_public(url.host):
            raise PermanentError(
                f"{self.base.authority} redirects to {url.authority}; if that is right, name it in `trusted`"
            )
        return self._outside

    # -- who we are -----------------------------------------------------------------------------------------------

    def _authorization(self, scope: str) -> dict[str, str]:
        token, until = self._tokens.get(scope, ("", 0.0))
        if token and time.monotonic() < until:
            return {"Authorization": f"Bearer {token}"}
        return self._credentials() if self._basic else {}

    def _credentials(self) -> dict[str, str]:
        """As they are now: a rotated password is used at once."""
        if self._login is None:
            return {}
        password = self._secrets.resolve(self._login.password)
        return {"Authorization": f"Basic {base64.b64encode(self._login.username.encode() + b':' + password).decode()}"}

    async def _authenticate(self, challenge: str, scope: str) -> None:
        scheme, _, rest = challenge.partition(" ")
        self._tokens.pop(scope, None)
        if scheme.lower() == "basic":
            self._basic = True
            return
        if scheme.lower() != "bearer":
            raise PermanentError(f"{self.base.authority} asks for neither a token nor a password")
        fields = dict(_PARAMETER.findall(rest))
        url = self._realm(fields.get("realm", "")).update_query(service=fields.get("service", ""), scope=scope)
        sent = self._credentials()
        answer = await call(self._session, "GET", str(url), headers=sent, secrets=_hidden(sent))
        found = answer.value if isinstance(answer.value, dict) else {}
        token, lives = found.get("token") or found.get("access_token"), found.get("expires_in")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise PermanentError(f"{url.host} gives no token")
        seconds = float(lives) if isinstance(lives, int | float) and lives > 0 else TOKEN_SECONDS
        self._tokens[scope] = token, time.monotonic() + 0.8 * seconds

    def _realm(self, text: str) -> URL:
        """The token service, if it is one that may be asked."""
        try:
            url = URL(text)
            right = url.scheme in ("https", self.base.scheme) and url.user is None and url.authority in self._trusted
        except ValueError:
            right, url = False, URL()
        if not right:
            shown = text[:100] if text.isprintable() else "what is no address"
            raise PermanentError(
                f"{self.base.authority} sends us for a token to {shown}; if that is right, name it in `trusted`"
            )
        return url


class _PublicOnly(AbstractResolver):
    """Names that lead into a private network have no address here, whatever was found when somebody looked before."""

    def __init__(self) -> None:
        self._resolver = DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = [result for result in await self._resolver.resolve(host, port, family) if _is_public(result["host"])]
        if not found:
            raise OSError(None, f"{host} has no public address")
        return found

    async def close(self) -> None:
        await self._resolver.close()


def _is_public(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_global


def _may_be_public(host: str) -> bool:
    """A name is looked up later, by `_PublicOnly`; an address is judged here."""
    try:
        return _is_public(host)
    except ValueError:
        return True


def _session(resolver: AbstractResolver | None = None) -> aiohttp.ClientSession:
    """Without cookies, proxies and netrc."""
    connector = aiohttp.TCPConnector(limit=8, resolver=resolver)
    return aiohttp.ClientSession(
        connector=connector, timeout=SECONDS, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    )


def _hidden(headers: Mapping[str, str]) -> list[str]:
    """What no error may repeat."""
    value = headers.get("Authorization", "").partition(" ")[2]
    return [value] if value else []


async def _content(answer: aiohttp.ClientResponse, digest: str, most: int) -> bytes:
    host = answer.url.host
    if answer.status != HTTPStatus.OK:
        text = f"{host}: {answer.status} for {digest}"
        raise TransientError(text) if answer.status == 429 or answer.status >= 500 else PermanentError(text)
    content = bytearray()
    async for piece in answer.content.iter_chunked(65536):
        content += piece
        if len(content) > most:
            raise PermanentError(f"{host}: {digest} is more than {most} bytes")
    algorithm, _, expected = digest.partition(":")
    if hashlib.new(algorithm, content).hexdigest() != expected:
        raise PermanentError(f"{host}: {digest} is not what its digest says")
    return bytes(content)
