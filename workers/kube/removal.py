"""Deleting an object that is to be created anew, and seeing that it is really gone.

What must hold: only what is ours is deleted, and only as it was looked at (uid and resourceVersion); and nobody mistakes
"being deleted" for "gone", for finalizers may take their time.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson

from workers.kube.discovery import Resource
from workers.kube.errors import ApiError
from workers.kube.keys import ObjectKey
from workers.kube.managed_fields import PREFIX, is_member
from workers.kube.transport import METADATA, Deadline, KubeClient

GONE_SECONDS = 10.0
LOOK_SECONDS = 0.05
DELETE_SECONDS = 15.0


async def metadata_of(
    client: KubeClient, resource: Resource, key: ObjectKey, *, deadline: Deadline | None = None
) -> dict[str, Any] | None:
    """The object's metadata; None: it isn't there."""
    try:
        path = resource.path(key.namespace, key.name)
        answer = (await client.request("GET", path, accept=METADATA, deadline=deadline)).json()
    except ApiError as error:
        if error.missing:
            return None
        raise
    metadata: dict[str, Any] = answer["metadata"]
    return metadata


async def delete(
    client: KubeClient,
    resource: Resource,
    key: ObjectKey,
    metadata: dict[str, Any],
    *,
    deadline: Deadline | None = None,
) -> None:
    """Delete the object as ``metadata`` has it; what depends on it follows in the background.

    :raises ApiError: it changed since (409), or the server refused.
    """
    options = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Background",
        "preconditions": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
    }
    path = resource.path(key.namespace, key.name)
    await client.request(
        "DELETE", path, body=orjson.dumps(options), accept=METADATA, timeout=DELETE_SECONDS, deadline=deadline
    )


async def remove_ours(
    client: KubeClient,
    resource: Resource,
    key: ObjectKey,
    *,
    application: str,
    applyset_id: str,
    deadline: Deadline | None = None,
) -> None:
    """Delete the object, if it is there, and wait until it is gone.

    :raises ApiError: it isn't ours, it changed meanwhile, or its finalizers take more than `GONE_SECONDS`.
    """
    metadata = await metadata_of(client, resource, key, deadline=deadline)
    if metadata is None:
        return
    if not is_member(metadata, PREFIX + application, applyset_id):
        raise ApiError("it isn't this application's, so it is not deleted", status=409, retryable=False)
    if not metadata.get("deletionTimestamp"):
        try:
            await delete(client, resource, key, metadata, deadline=deadline)
        except ApiError as error:
            if not error.missing:
                raise
    if not await gone(client, resource, key, metadata["uid"], deadline=deadline):
        raise ApiError(f"it is being deleted, and not gone after {GONE_SECONDS:.0f} s", retryable=True)


async def gone(
    client: KubeClient, resource: Resource, key: ObjectKey, uid: str, *, deadline: Deadline | None = None
) -> bool:
    """Wait until the object of that ``uid`` is gone: at most `GONE_SECONDS`."""
    end = time.monotonic() + GONE_SECONDS
    while True:
        metadata = await metadata_of(client, resource, key, deadline=deadline)
        if metadata is None or metadata["uid"] != uid:
            return True
        if time.monotonic() > end:
            return False
        await asyncio.sleep(LOOK_SECONDS)
