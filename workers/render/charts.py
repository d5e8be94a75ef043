"""Charts that are not in the repository: one pinned version each, from Helm and OCI repositories that the operator allows.

What must hold: a repository's content never chooses a server: every address that is asked, a redirect's, an index's and a token
service's included, must begin with an allowed one (threat D4); what arrives is bounded, and is what its digest says. A version
is taken to be immutable: once here, it is not asked for again.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import aiohttp
import orjson

from windlass.documents.rendering import ChartSource
from windlass.errors import TransientError
from windlass.yamls import YamlError, load_all
from workers.aiogit.smart_http import new_session
from workers.render.cache import ByteCache
from workers.render.chart import MAX_ARCHIVE
from workers.render.commit_tree import RenderError

INDEX_BYTES = 10 << 20
ANSWER_BYTES = 1 << 20
SECONDS = 60.0
MEMORY_BYTES = 32 << 20
_REDIRECTS = 3
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
"""Media types of a chart in an OCI repository (https://helm.sh/docs/topics/registries/)."""
_EXACT = re.compile(r"v?\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?\Z")
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})\Z")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_HIDDEN = re.compile(r"%2e|%2f|%5c|\\", re.IGNORECASE)
_PLAIN_OCI = "oci+http://"


class Charts:
    """Pulls charts. ``allowed``: the beginnings of addresses, such as ``https://charts.example.com/stable`` and
    ``oci://registry.example.com/charts`` (``oci+http://`` for one without TLS); ``folder`` keeps archives across restarts.
    """

    def __init__(
        self, allowed: Iterable[str], folder: Path | None = None, session: aiohttp.ClientSession | None = None
    ) -> None:
        self._allowed = tuple(address.rstrip("/") for address in allowed)
        self._folder = folder
        self._session, self._own_session = session, session is None
        self._known: ByteCache[ChartSource, bytes] = ByteCache(MEMORY_BYTES)

    async def close(self) -> None:
        if self._own_session and self._session is not None:
            await self._session.close()
            self._session = None

    async def pull(self, chart: ChartSource) -> bytes:
        """The chart's archive.

        :raises RenderError: it isn't allowed, isn't there, isn't one version, or isn't what its digest says.
        :raises TransientError: its repository can't be reached now.
        """
        if not _EXACT.match(chart.version):
            raise RenderError(f"{chart.version[:60]!r} is not one version: pin it, or commit Chart.lock")
        self._server(chart.repository)
        known = self._known.get(chart) or await asyncio.to_thread(self._kept, chart)
        if known is None:
            try:
                async with asyncio.timeout(SECONDS):
                    known = await (self._oci(chart) if chart.repository.startswith("oci://") else self._helm(chart))
            except (TimeoutError, aiohttp.ClientError, OSError) as error:
                reason = type(error).__name__
                raise TransientError(f"{chart.repository} can't be reached for {chart.name}: {reason}") from None
            await asyncio.to_thread(self._keep, chart, known)
        return self._known.put(chart, known, len(known))

    # -- the two kinds of repositories ----------------------------------------------------------------------------

    async def _helm(self, chart: ChartSource) -> bytes:
        base = chart.repository.rstrip("/") + "/"
        index = await self._get(urljoin(base, "index.yaml"), INDEX_BYTES)
        entry = await asyncio.to_thread(_find, index, chart)
        urls = entry.get("urls")
        if not isinstance(urls, list) or not urls or not isinstance(urls[0], str):
            raise RenderError(f"the index of {chart.repository} names no address for {chart.name} {chart.version}")
        data = await self._get(urljoin(base, urls[0]), MAX_ARCHIVE)
        return _checked(data, str(entry.get("digest") or ""), chart, required=False)

    async def _oci(self, chart: ChartSource) -> bytes:
        server = self._server(chart.repository)
        host, _, path = chart.repository.removeprefix("oci://").rstrip("/").partition("/")
        name = f"{path}/{chart.name}" if path else chart.name
        base = f"{server}://{host}/v2/{name}"
        headers = {"Accept": _MANIFEST}
        tag = chart.version.replace("+", "_")  # a tag has no plus sign
        raw = await self._get(f"{base}/manifests/{tag}", ANSWER_BYTES, headers, scope=f"repository:{name}:pull")
        try:
            layers = orjson.loads(raw).get("layers") or ()
            digests = [str(layer["digest"]) for layer in layers if layer.get("mediaType") == _LAYER]
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
            digests = []
        if len(digests) != 1 or not _DIGEST.match(digests[0]):
            raise RenderError(f"{chart.repository}/{chart.name}:{tag} is no chart")
        data = await self._get(f"{base}/blobs/{digests[0]}", MAX_ARCHIVE, headers, scope=f"repository:{name}:pull")
        return _checked(data, digests[0], chart, required=True)

    # -- requests -------------------------------------------------------------------------------------------------

    def _server(self, address: str) -> str:
        """The scheme to ask ``address`` with.

        :raises RenderError: it is not allowed.
        """
        if _is_plain(address):
            plain = address.replace("oci://", _PLAIN_OCI, 1)
            for allowed in self._allowed:
                if address == allowed or address.startswith(f"{allowed}/"):
                    return "https" if address.startswith("oci:") else address.partition(":")[0]
                if plain == allowed or plain.startswith(f"{allowed}/"):
                    return "http"
        raise RenderError(f"charts of {address[:200]} are not allowed: vendor it, or allow its repository")

    def _may_ask(self, url: str) -> None:
        """Refuse an address that no allowed one covers; of an OCI repository, its API's are.

        :raises RenderError: it is refused.
        """
        scheme, separator, rest = url.partition("://")
        host, _, path = rest.partition("/")
        oci = "oci" if scheme == "https" else _PLAIN_OCI.removesuffix("://")
        if path.startswith("v2/") and _is_plain(url):
            within = f"{oci}{separator}{host}/{path.removeprefix('v2/')}"
            if any(within.startswith(f"{allowed}/") for allowed in self._allowed):
                return
        self._server(url.partition("?")[0])

    async def _get(self, url: str, most: int, headers: dict[str, str] | None = None, scope: str = "") -> bytes:
        """The answer to a GET; redirects are followed where they lead to what is allowed.

        :raises RenderError: it is not allowed, not there, or too large. :raises TransientError: try again later.
        """
        asked, sent = url, {"Accept-Encoding": "identity", **(headers or {})}
        for _ in range(_REDIRECTS + 2):
            self._may_ask(asked)
            self._session = self._session or new_session()
            async with self._session.get(asked, headers=sent, allow_redirects=False) as answer:
                if answer.status in (301, 302, 303, 307, 308):
                    asked = urljoin(asked, answer.headers.get("Location", ""))
                    sent.pop("Authorization", None)
                elif answer.status == 401 and scope and "Authorization" not in sent:
                    token = await self._token(answer.headers.get("WWW-Authenticate", ""), scope, asked)
                    sent["Authorization"] = f"Bearer {token}"
                else:
                    return await _body(answer, most)
        raise RenderError(f"{url} redirects too often")

    async def _token(self, challenge: str, scope: str, asked: str) -> str:
        """An anonymous token (https://distribution.github.io/distribution/spec/auth/token/)."""
        fields = dict(_CHALLENGE.findall(challenge)) if challenge.lower().startswith("bearer ") else {}
        realm = fields.get("realm", "")
        if urlsplit(realm)[:2] != urlsplit(asked)[:2]:
            self._server(realm)
        assert self._session is not None
        query = urlencode({"service": fields.get("service", ""), "scope": scope})
        async with self._session.get(f"{realm}?{query}", allow_redirects=False) as answer:
            try:
                found = orjson.loads(await _body(answer, ANSWER_BYTES))
                return str(found.get("token") or found["access_token"])
            except (orjson.JSONDecodeError, AttributeError, KeyError):
                raise RenderError(f"{urlsplit(asked).netloc} gives no token to everybody") from None

    # -- what is kept ---------------------------------------------------------------------------------------------

    def _place(self, chart: ChartSource) -> Path | None:
        name = hashlib.sha256(f"{chart.repository}\n{chart.name}\n{chart.version}".encode()).hexdigest()
        return self._folder / f"{name}.tgz" if self._folder is not None else None

    def _kept(self, chart: ChartSource) -> bytes | None:
        """The archive as it was kept: its digest, then itself."""
        place = self._place(chart)
        try:
            data = place.read_bytes() if place is not None else b""
        except OSError:
            return None
        return data[32:] if len(data) > 32 and hashlib.sha256(data[32:]).digest() == data[:32] else None

    def _keep(self, chart: ChartSource, data: bytes) -> None:
        place = self._place(chart)
        if place is None:
            return
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        written = place.with_suffix(f".{os.getpid()}")
        written.write_bytes(hashlib.sha256(data).digest() + data)
        written.replace(place)


def _is_plain(address: str) -> bool:
    """Is it what it looks like: without a user's name, and without a path that leads up?"""
    path = urlsplit(address).path
    return "@" not in urlsplit(address).netloc and not _HIDDEN.search(path) and not {".", ".."} & set(path.split("/"))


async def _body(answer: aiohttp.ClientResponse, most: int) -> bytes:
    url = str(answer.url.with_query(None))
    if answer.status == 404:
        raise RenderError(f"{url} is not there")
    if answer.status in (401, 403):
        raise RenderError(f"{url} is not for everybody")
    if answer.status != 200:
        raise TransientError(f"{url} answered {answer.status}")
    pieces: list[bytes] = []
    size = 0
    async for piece in answer.content.iter_chunked(65536):
        size += len(piece)
        if size > most:
            raise RenderError(f"{url} is more than {most} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _find(index: bytes, chart: ChartSource) -> dict[str, Any]:
    """The chart's entry in a Helm repository's index (https://helm.sh/docs/topics/chart_repository/)."""
    try:
        values = [parsed.value for parsed in load_all(index)]
    except YamlError as error:
        raise RenderError(f"the index of {chart.repository} can't be read: {error.message}") from None
    entries = values[0].get("entries") if len(values) == 1 and isinstance(values[0], dict) else None
    listed = entries.get(chart.name) if isinstance(entries, dict) else None
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, dict) and str(entry.get("version")).removeprefix("v") == chart.version.removeprefix("v"):
            return entry
    raise RenderError(f"{chart.repository} has no {chart.name} {chart.version}")


def _checked(data: bytes, digest: str, chart: ChartSource, *, required: bool) -> bytes:
    match = _DIGEST.match(digest)
    if (match is None and required) or (match is not None and match[1] != hashlib.sha256(data).hexdigest()):
        raise RenderError(f"{chart.name} {chart.version} of {chart.repository} is not what its digest says")
    return data
