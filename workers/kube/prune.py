"""One object deleted, if it is still ours, and still what we looked at.

What must hold: nothing precious goes unasked, and nothing that another application took a moment ago goes at all. The
delete names the uid and the resourceVersion that were judged; if the object changed since, it is judged again.
"""

from __future__ import annotations

from typing import Any, Literal

from workers.directives import directives
from workers.guards import kept_because
from workers.kube.discovery import Resource
from workers.kube.errors import ApiError
from workers.kube.keys import ObjectKey
from workers.kube.managed_fields import PREFIX, is_member
from workers.kube.removal import delete, metadata_of
from workers.kube.transport import Deadline, KubeClient

PARENT_ID = "applyset.kubernetes.io/id"
"""The label of an ApplySet's parent (KEP-3659): never a member to delete, whoever labelled it so."""
ROUNDS = 5

Outcome = Literal["deleted", "gone", "not-ours", "kept"]


async def prune(
    client: KubeClient,
    resource: Resource,
    key: ObjectKey,
    *,
    application: str,
    applyset_id: str,
    deadline: Deadline | None = None,
    seen: dict[str, Any] | None = None,
    with_application: bool = False,
) -> Outcome:
    """Delete the object; what depends on it follows in the background. ``seen`` is its metadata, if it was just read.
    ``with_application``: it goes because the whole application does.

    ``gone``: it isn't there, or is already being deleted. ``not-ours``: our own apply doesn't own its ``part-of``
    label.
    ``kept``: it asks to stay, or is precious and isn't annotated ``windlass.dev/prune: "true"``.

    :raises ApiError: the server refused it, or the object changed at every look.
    """
    for last in (False,) * (ROUNDS - 1) + (True,):
        try:
            metadata, seen = seen or await metadata_of(client, resource, key, deadline=deadline), None
            if metadata is None:
                return "gone"
            if outcome := _judge(key, metadata, PREFIX + application, applyset_id, with_application):
                return outcome
            await delete(client, resource, key, metadata, deadline=deadline)
        except ApiError as error:
            if error.missing:
                return "gone"
            if last or not error.conflict:
                raise
        else:
            return "deleted"
    raise AssertionError("the last round returns or raises")


def _judge(
    key: ObjectKey, metadata: dict[str, Any], manager: str, applyset_id: str, with_application: bool
) -> Outcome | None:
    """Why the object is not to be deleted; None: it is."""
    if metadata.get("deletionTimestamp"):
        return "gone"
    if not is_member(metadata, manager, applyset_id) or PARENT_ID in (metadata.get("labels") or {}):
        return "not-ours"
    wishes = directives(metadata.get("annotations"), key.group_kind)
    if kept_because(key, wishes, with_application=with_application):
        return "kept"
    return None
