"""The objects of an ApplySet, as the cluster has them: metadata-only lists, a page at a time.

What must hold: a list that failed is said to have failed. What is missing from an incomplete list looks exactly like
what somebody deleted, so a group kind that can't be listed prunes nothing, and that is the caller's to know.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any, NamedTuple

from workers.directives import Directives, directives
from workers.kube import managed_fields
from workers.kube.discovery import Discovery, Resource
from workers.kube.errors import ApiError
from workers.kube.keys import ObjectKey, split_group_kind
from workers.kube.managed_fields import HASH, PART_OF
from workers.kube.transport import METADATA_LIST, KubeClient

HOOK = "hook-"
"""How the hash of a hook's object begins."""
PAGE = 500
"""Objects a page: 0.6 MB and some 10 ms of parsing, which is how long it holds the event loop."""
LIST_SECONDS = 60.0
RESTARTS = 2
"""A list of many pages may outlive the server's memory of where it began (410): then it starts again."""
FEW_NAMESPACES = 4
"""Up to so many, each is listed by itself; beyond, one list of the whole cluster is cheaper."""


class Member(NamedTuple):
    """An object that carries our ``part-of`` label. Only if ``ours`` did we put it there; else a controller copied it.

    ``hash`` is the annotation's (of what Git said), ``fields`` the digest of the fields that we own, ``managers`` all
    others that own fields beside the status.
    """

    key: ObjectKey
    api_version: str
    uid: str
    resource_version: str
    hash: str
    fields: str
    managers: tuple[str, ...]
    ours: bool
    directives: Directives  # what its annotations ask for

    @property
    def is_hook(self) -> bool:
        """Did a run's hook make it? Then it isn't kept equal to Git."""
        return self.hash.startswith(HOOK)


async def list_members(
    client: KubeClient,
    discovery: Discovery,
    *,
    group_kinds: Collection[str],
    namespaces: Collection[str],
    manager: str,
    applyset_id: str,
) -> tuple[list[Member], dict[str, str]]:
    """The members of each of ``group_kinds``, and the group kinds that can't be listed, with the reason.

    :raises UnreachableError: no connection.
    """
    names = sorted(group_kinds)
    listing = _Listing(client, discovery, frozenset(namespaces), manager, applyset_id)
    found = await asyncio.gather(*map(listing.group_kind, names))
    members: list[Member] = []
    unlisted: dict[str, str] = {}
    for name, result in zip(names, found, strict=True):
        if isinstance(result, str):
            unlisted[name] = result
        else:
            members += result
    return members, unlisted


async def is_empty(
    client: KubeClient, discovery: Discovery, group_kind: str, namespaces: Collection[str], applyset_id: str
) -> bool:
    """Does no object of ``group_kind`` carry the label? False also where that can't be known."""
    resource = await discovery.preferred(*split_group_kind(group_kind))
    if resource is None:
        return discovery.is_certain(split_group_kind(group_kind)[0])
    try:
        for path in _paths(resource, frozenset(namespaces)):
            params = {"labelSelector": f"{PART_OF}={applyset_id}", "limit": "1"}
            if (await client.request("GET", path, params=params, accept=METADATA_LIST)).json().get("items"):
                return False
    except ApiError:
        return False
    return True


class _Listing(NamedTuple):
    client: KubeClient
    discovery: Discovery
    namespaces: frozenset[str]
    manager: str
    applyset_id: str

    async def group_kind(self, name: str) -> list[Member] | str:
        """The members of one group kind, or why there is no telling."""
        group, kind = split_group_kind(name)
        while resource := await self.discovery.preferred(group, kind):
            if "list" not in resource.verbs:
                return "the kind has no list"
            try:
                return await self._listed(resource)
            except ApiError as error:
                if not error.missing:
                    return str(error)
                self.discovery.forget(resource)  # its definition left since it was looked up, or its name changed
                if await self.discovery.preferred(group, kind) == resource:
                    return str(error)
        # With its definition all of a kind's objects are gone; with its (extension) server they only seem to be.
        return [] if self.discovery.is_certain(group) else f"the server of {group} is away"

    async def _listed(self, resource: Resource) -> list[Member]:
        try:
            lists = [await self._path(resource, path) for path in _paths(resource, self.namespaces)]
        except ApiError as error:
            if error.status != 403 or not resource.namespaced or len(self.namespaces) <= FEW_NAMESPACES:
                raise
            lists = [await self._path(resource, resource.path(name)) for name in sorted(self.namespaces)]
        return [member for members in lists for member in members]

    async def _path(self, resource: Resource, path: str) -> list[Member]:
        for restart in range(RESTARTS + 1):
            try:
                return [self._member(resource, item) async for item in _items(self.client, path, self.applyset_id)]
            except ApiError as error:
                if error.status != 410 or restart == RESTARTS:
                    raise
        raise AssertionError("the last try returns or raises")

    def _member(self, resource: Resource, item: dict[str, Any]) -> Member:
        metadata = item["metadata"]
        entries = metadata.get("managedFields") or ()
        annotations = metadata.get("annotations") or {}
        key = ObjectKey(resource.group, resource.kind, metadata.get("namespace") or "", metadata["name"])
        return Member(
            key,
            resource.api_version,
            metadata["uid"],
            metadata["resourceVersion"],
            annotations.get(HASH, ""),
            managed_fields.fields_digest(entries, self.manager),
            managed_fields.others(entries, self.manager),
            managed_fields.owns_label(entries, self.manager),
            directives(annotations, key.group_kind),
        )


def _paths(resource: Resource, namespaces: frozenset[str]) -> list[str]:
    if not resource.namespaced or len(namespaces) > FEW_NAMESPACES:
        return [resource.path()]
    return [resource.path(namespace) for namespace in sorted(namespaces)]


async def _items(client: KubeClient, path: str, applyset_id: str) -> AsyncIterator[dict[str, Any]]:
    params = {"labelSelector": f"{PART_OF}={applyset_id}", "limit": str(PAGE)}
    while True:
        answer = await client.request("GET", path, params=params, accept=METADATA_LIST, timeout=LIST_SECONDS)
        page = answer.json()
        for item in page.get("items") or ():
            yield item
        token = (page.get("metadata") or {}).get("continue")
        if not token:
            return
        params["continue"] = token
