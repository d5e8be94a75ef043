"""One watch of one resource that goes on whatever happens: bookmarked, begun anew on 410. `Watch` is of metadata only, by label.

What must hold: between `Mark.BEGIN` and `Mark.SYNCED` every object that is there is seen, so that what wasn't seen is gone;
an object's managedFields are digested as its event is read, and dropped; and a server that is away is asked again within
seconds, spread out, while one that refuses (403) or has no such resource (404) is the caller's to think about.

Sources: kubernetes.io/docs/reference/using-api/api-concepts (watches, bookmarks, streaming lists), KEP-3157, KEP-956.
"""

from __future__ import annotations

import asyncio
import enum
import random
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Generic, NamedTuple, TypeVar

import structlog

from windlass.errors import WindlassError
from workers.kube.discovery import Resource
from workers.kube.errors import ApiError, UnreachableError
from workers.kube.fieldsets import contains, digest
from workers.kube.keys import ObjectKey
from workers.kube.managed_fields import HASH, PART_OF, application_of
from workers.kube.transport import METADATA, METADATA_LIST, KubeClient

log = structlog.get_logger(__name__)

T = TypeVar("T")

WATCH_SECONDS = 300.0
"""How long one watch lasts, and up to half as much more, so that not all begin anew at once."""
FIRST_BACKOFF, LONGEST_BACKOFF = 0.05, 3.0
STEADY_SECONDS = 10.0
"""A watch that lasted so long was a good one: the next failure is a first one."""
PAGE = 500
REFUSED = frozenset({403, 404, 405})
"""Statuses that asking again doesn't help."""
NO_STREAMING_LIST = frozenset({400, 422})
"""The answers of a server that doesn't know ``sendInitialEvents``, or has it switched off."""
INITIAL_END = "k8s.io/initial-events-end"


class Mark(enum.Enum):
    """``BEGIN``: what follows is a list of everything. ``SYNCED``: that was all of it, what follows are changes."""

    BEGIN = enum.auto()
    SYNCED = enum.auto()


class Share(NamedTuple):
    """What one Windlass application's own ``Apply`` entry says of an object: the digest of its fields, and whether the
    ``part-of`` label and the hash's annotation are among them."""

    application: str
    fields: str
    marked: bool


class Seen(NamedTuple):
    """An object's metadata as one event has it; with ``gone`` it left the watch (deleted, or only its label went).

    ``managers`` are those of other tools and people that own fields beside the status, the latest writer first.
    """

    key: ObjectKey
    uid: str
    resource_version: str
    part_of: str
    hash: str
    shares: tuple[Share, ...]
    managers: tuple[str, ...]
    generation: int
    deleting: bool
    gone: bool


def seen(resource: Resource, metadata: dict[str, Any], *, gone: bool = False) -> Seen:
    """What is kept of an object's metadata."""
    shares: list[Share] = []
    others: list[tuple[str, str]] = []
    for entry in metadata.get("managedFields") or ():
        manager = entry.get("manager") or ""
        application = application_of(manager)
        if application and entry.get("operation") == "Apply" and not entry.get("subresource"):
            fields = entry.get("fieldsV1") or {}
            shares.append(Share(application, digest(fields), _marked(fields)))
        elif not application and entry.get("subresource") != "status":
            others.append((entry.get("time") or "", manager))
    others.sort(key=lambda other: other[0], reverse=True)
    return Seen(
        ObjectKey(resource.group, resource.kind, metadata.get("namespace") or "", metadata["name"]),
        metadata.get("uid") or "",
        metadata.get("resourceVersion") or "",
        (metadata.get("labels") or {}).get(PART_OF, ""),
        (metadata.get("annotations") or {}).get(HASH, ""),
        tuple(shares),
        tuple(dict.fromkeys(manager for _, manager in others)),
        metadata.get("generation") or 0,
        bool(metadata.get("deletionTimestamp")),
        gone,
    )


def _marked(fields: dict[str, Any]) -> bool:
    return contains(fields, "f:metadata", "f:labels", f"f:{PART_OF}") and contains(
        fields, "f:metadata", "f:annotations", f"f:{HASH}"
    )


class AnyWatch(Generic[T]):
    """The objects of ``resource`` (in ``namespace``, or in all of them) that ``selector`` selects, as `_read` takes them."""

    accept, accept_list = "application/json", "application/json"

    def __init__(
        self,
        client: KubeClient,
        resource: Resource,
        namespace: str = "",
        *,
        selector: str = "",
        seconds: float = WATCH_SECONDS,
    ) -> None:
        self._client, self._resource, self._seconds = client, resource, seconds
        self._path, self._selector = resource.path(namespace), selector
        self._version = ""  # from where to go on; "": from a list of everything
        self._streaming_list = True
        self._tries = 0

    def _read(self, obj: dict[str, Any], *, gone: bool = False) -> T:
        """What is kept of an object."""
        raise NotImplementedError

    async def events(self) -> AsyncGenerator[T | Mark, None]:
        """Everything that happens, for ever.

        :raises ApiError: the server refuses this watch (`REFUSED`): this one is over.
        """
        while True:
            started = time.monotonic()
            try:
                async with aclosing(self._stretch()) as stretch:
                    async for item in stretch:
                        yield item
            except ApiError as error:
                if error.status in REFUSED:
                    raise
                self._after_error(error)
            except UnreachableError as error:
                log.debug("watch.unreachable", path=self._path, error=str(error))
            except WindlassError as error:  # the way to the cluster: a token that can't be read
                log.warning("watch.interrupted", path=self._path, error=str(error))
            if time.monotonic() - started >= STEADY_SECONDS:
                self._tries = 0
            await self._back_off()

    def _after_error(self, error: ApiError) -> None:
        """Where to go on after the server said no."""
        if error.status == 410:
            log.info("watch.expired", path=self._path)
            self._version = ""
        elif error.status in NO_STREAMING_LIST and self._streaming_list and not self._version:
            log.info("watch.no_streaming_list", path=self._path)
            self._streaming_list = False
        else:
            log.warning("watch.interrupted", path=self._path, error=str(error))

    async def _back_off(self) -> None:
        """The first time at once: most watches end because their time is over."""
        if self._tries:
            longest = min(FIRST_BACKOFF * 2**self._tries, LONGEST_BACKOFF)
            await asyncio.sleep(longest * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load
        self._tries += 1

    async def _stretch(self) -> AsyncGenerator[T | Mark, None]:
        """One connection's worth: from a list, or from where the last one ended."""
        listing = not self._version
        if listing:
            yield Mark.BEGIN
            if not self._streaming_list:
                async with aclosing(self._pages()) as pages:
                    async for one in pages:
                        yield one
                yield Mark.SYNCED
                listing = False
        async with aclosing(self._stream(listing)) as stream:
            async for item in stream:
                yield item

    async def _stream(self, listing: bool) -> AsyncGenerator[T | Mark, None]:
        params = {"labelSelector": self._selector, "allowWatchBookmarks": "true", "resourceVersion": self._version}
        if listing:
            params |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        seconds = self._seconds * random.uniform(1.0, 1.5)  # noqa: S311 - spreads load
        stream = self._client.watch(self._path, params=params, seconds=seconds, accept=self.accept)
        async with aclosing(stream) as events:
            async for event in events:
                metadata = event["object"].get("metadata") or {}
                if event["type"] == "ERROR":
                    raise _error(event["object"])
                if event["type"] != "BOOKMARK":
                    yield self._read(event["object"], gone=event["type"] == "DELETED")
                elif listing and (metadata.get("annotations") or {}).get(INITIAL_END) == "true":
                    listing = False
                    yield Mark.SYNCED
                if not listing:  # a list comes in any order: nothing in it is a place to go on from
                    self._version = metadata["resourceVersion"]

    async def _pages(self) -> AsyncGenerator[T, None]:
        """The list as older servers give it, a page at a time."""
        params = {"labelSelector": self._selector, "limit": str(PAGE)}
        version = ""
        while True:
            page = (await self._client.request("GET", self._path, params=params, accept=self.accept_list)).json()
            for item in page.get("items") or ():
                yield self._read(item)
            version = page["metadata"]["resourceVersion"]
            token = page["metadata"].get("continue")
            if not token:
                break
            params["continue"] = token
        self._version = version


class Watch(AnyWatch[Seen]):
    """The metadata of the objects that carry a ``part-of`` label."""

    accept, accept_list = METADATA, METADATA_LIST

    def __init__(
        self,
        client: KubeClient,
        resource: Resource,
        namespace: str = "",
        *,
        selector: str = PART_OF,
        seconds: float = WATCH_SECONDS,
    ) -> None:
        super().__init__(client, resource, namespace, selector=selector, seconds=seconds)

    def _read(self, obj: dict[str, Any], *, gone: bool = False) -> Seen:
        return seen(self._resource, obj["metadata"], gone=gone)


def _error(status: dict[str, Any]) -> ApiError:
    """The error that a watch that was open already ended with."""
    return ApiError(
        str(status.get("message") or "the watch ended with an error"),
        status=int(status.get("code") or 0),
        reason=str(status.get("reason") or ""),
    )
