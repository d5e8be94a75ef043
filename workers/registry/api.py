"""What is asked of a registry: an image's tags, what a tag names, when an image was made and from which commit.

What must hold: whatever the registry answers is bounded and checked: a tag is one by its grammar, a digest too.
Specifications: opencontainers/distribution-spec ("Listing Tags", "Pulling manifests"), opencontainers/image-spec.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
from yarl import URL

from windlass.documents import syntax
from windlass.errors import PermanentError
from windlass.images import valid_digest, valid_tag
from windlass.registries.base import timestamp
from workers.registry.access import Access

PAGE, PAGES = 1000, 100
"""Tags of a page, as they are asked for, and pages that are read."""
CONFIG_BYTES = 4 << 20
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_ACCEPT = {"Accept": ", ".join((*_INDEXES, *_MANIFESTS))}
_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?')
_COMMIT = re.compile(r"[0-9a-f]{7,64}\Z")
_REVISION, _SOURCE, _CREATED = (f"org.opencontainers.image.{word}" for word in ("revision", "source", "created"))


class Tags(NamedTuple):
    """All tags of an image, sorted; ``etag`` is "" where the registry has none for the whole list."""

    names: tuple[str, ...]
    etag: str


class Made(NamedTuple):
    """What an image says of itself: when it was made (seconds since the epoch; 0 if it doesn't say), and of what."""

    at: float
    commit: str
    repository: str


class RegistryApi:
    """Asks one registry; the errors are those of `Access`."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def close(self) -> None:
        await self._access.close()

    async def tags(self, name: str, etag: str = "") -> Tags | None:
        """The tags of ``name`` (without the registry); none where the registry has no such image yet. None: ``etag`` still holds.

        :raises PermanentError: there are too many.
        """
        url: URL | None = self._url(name, "tags/list").with_query(n=PAGE)
        found: set[str] = set()
        headers = {"If-None-Match": etag} if etag else {}
        for page in range(PAGES):
            assert url is not None
            answer = await self._access.ask("GET", url, _scope(name), headers=headers, expected=(304, 404))
            if answer.status == 304:
                return None
            if answer.status == 404:
                return Tags((), "")
            found |= _tags(answer.value)
            before, url, headers = url, _next(url, answer.headers), {}
            if url is None or url == before:
                whole = answer.headers.get("ETag", "") if page == 0 else ""  # of several pages it is the last one's
                return Tags(tuple(sorted(found)), whole if whole.isascii() and whole.isprintable() else "")
        raise PermanentError(f"{name} has more tags than {PAGES} pages of its registry hold")

    async def digest(self, name: str, tag: str) -> str | None:
        """What the tag names now, "" where the registry doesn't say; None: there is no such tag."""
        url = self._url(name, f"manifests/{tag}")
        answer = await self._access.ask("HEAD", url, _scope(name), headers=_ACCEPT, expected=(404,))
        if answer.status == 404:
            return None
        digest = answer.headers.get("Docker-Content-Digest", "")
        return digest if valid_digest(digest) else ""

    async def made(self, name: str, reference: str) -> Made:
        """What the image of this tag or digest says of itself; of several platforms' the first one."""
        manifest = await self._manifest(name, reference)
        if "manifests" in manifest and (first := _first(manifest["manifests"])):
            manifest = {**await self._manifest(name, first), "index": manifest}
        config = manifest.get("config")
        digest = config.get("digest") if isinstance(config, dict) else None
        if not isinstance(digest, str) or not valid_digest(digest):
            return _made({}, manifest)
        path = self._url(name, f"blobs/{digest}").path
        content = await self._access.blob(path, digest, _scope(name), CONFIG_BYTES)
        try:
            said = orjson.loads(content)
        except orjson.JSONDecodeError:
            said = {}
        return _made(said if isinstance(said, dict) else {}, manifest)

    async def _manifest(self, name: str, reference: str) -> dict[str, Any]:
        answer = await self._access.ask("GET", self._url(name, f"manifests/{reference}"), _scope(name), headers=_ACCEPT)
        return answer.value if isinstance(answer.value, dict) else {}

    def _url(self, name: str, rest: str) -> URL:
        return self._access.base.joinpath("v2", *name.split("/"), *rest.split("/"))


def _scope(name: str) -> str:
    return f"repository:{name}:pull"


def _tags(value: Any) -> set[str]:
    names = value.get("tags") if isinstance(value, dict) else None
    return {tag for tag in names if isinstance(tag, str) and valid_tag(tag)} if isinstance(names, list) else set()


def _next(url: URL, headers: Mapping[str, str]) -> URL | None:
    """The next page (RFC 8288); where it may be, `Access` judges."""
    match = _NEXT.search(headers.get("Link", ""))
    try:
        return url.join(URL(match[1], encoded=True)) if match else None
    except ValueError:
        return None


def _first(manifests: Any) -> str:
    """The first platform's digest; what only attests something has none."""
    for entry in manifests if isinstance(manifests, list) else ():
        platform = entry.get("platform") if isinstance(entry, dict) else None
        digest = entry.get("digest") if isinstance(entry, dict) else None
        unknown = isinstance(platform, dict) and platform.get("os") == "unknown"
        if isinstance(digest, str) and valid_digest(digest) and not unknown:
            return digest
    return ""


def _made(config: dict[str, Any], manifest: dict[str, Any]) -> Made:
    inner = config.get("config")
    index = manifest.get("index")
    holders = (
        inner.get("Labels") if isinstance(inner, dict) else None,
        manifest.get("annotations"),
        index.get("annotations") if isinstance(index, dict) else None,
    )
    said = {key: value for holder in reversed(holders) if isinstance(holder, dict) for key, value in holder.items()}
    at = _time(config.get("created")) or _time(said.get(_CREATED))
    commit, source = said.get(_REVISION), said.get(_SOURCE)
    return Made(
        min(at, time.time()),  # what will be made is the newest for as long as its clock says so
        commit if isinstance(commit, str) and _COMMIT.match(commit) else "",
        source if isinstance(source, str) and syntax.valid_http(source) else "",
    )


def _time(value: Any) -> float:
    return max(timestamp(value), 0.0) if isinstance(value, str) else 0.0
