"""One object deleted, if it is still ours, and still what we looked at.

What must hold: nothing precious goes unasked, and nothing that another application took a moment ago goes at all. The
delete names the uid and the resourceVersion that were judged; if the object changed since, it is judged again.
"""

from __future__ import annotations

from typing import Any, Literal

import orjson

from workers.kube.discovery import Resource
from workers.kube.errors import ApiError
from workers.kube.keys import PRECIOUS, ObjectKey
from workers.kube.managed_fields import PREFIX, is_member
from workers.kube.transport import METADATA, Deadline, KubeClient

PRUNE = "windlass.dev/prune"
PARENT_ID = "applyset.kubernetes.io/id"
"""The label of an ApplySet's parent (KEP-3659): never a member to delete, whoever labelled it so."""
ROUNDS = 5
DELETE_SECONDS = 15.0

Outcome = Literal["deleted", "gone", "not-ours", "kept"]


async def prune(
    client: KubeClient,
    resource: Resource,
    key: ObjectKey,
    *,
    application: str,
    applyset_id: str,
    deadline: Deadline | None = None,
) -> Outcome:
    """Delete the object; what depends on it follows in the background.

    ``gone``: it isn't there, or is already being deleted. ``not-ours``: our own apply doesn't own its ``part-of``
    label.
    ``kept``: it is precious, and isn't annotated ``windlass.dev/prune: "true"``.

    :raises ApiError: the server refused it, or the object changed at every look.
    """
    path = resource.path(key.namespace, key.name)
    for last in (False,) * (ROUNDS - 1) + (True,):
        try:
            metadata = (await client.request("GET", path, accept=METADATA, deadline=deadline)).json()["metadata"]
            if outcome := _judge(key, metadata, PREFIX + application, applyset_id):
                return outcome
            await _delete(client, path, metadata, deadline)
        except ApiError as error:
            if error.missing:
                return "gone"
            if last or not error.conflict:
                raise
        else:
            return "deleted"
    raise AssertionError("the last round returns or raises")


def _judge(key: ObjectKey, metadata: dict[str, Any], manager: str, applyset_id: str) -> Outcome | None:
    """Why the object is not to be deleted; None: it is."""
    if metadata.get("deletionTimestamp"):
        return "gone"
    if not is_member(metadata, manager, applyset_id) or PARENT_ID in (metadata.get("labels") or {}):
        return "not-ours"
    if key.group_kind in PRECIOUS and (metadata.get("annotations") or {}).get(PRUNE) != "true":
        return "kept"
    return None


async def _delete(client: KubeClient, path: str, metadata: dict[str, Any], deadline: Deadline | None) -> None:
    options = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Background",
        "preconditions": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
    }
    await client.request(
        "DELETE", path, body=orjson.dumps(options), accept=METADATA, timeout=DELETE_SECONDS, deadline=deadline
    )
