"""One hook: created anew for each revision, waited for, deleted as it asks.

What must hold: a hook runs once for a revision, whoever goes on after a crash, for the object itself says which revision
made it; and nothing is deleted that another made.
"""

from __future__ import annotations

import hashlib
from typing import Any

from workers.directives import DeletePolicy
from workers.health.status import CURRENT, Health, Status, failed, in_progress, mapping
from workers.kube import removal
from workers.kube.discovery import Resource
from workers.kube.errors import ApiError
from workers.kube.managed_fields import HASH
from workers.kube.members import HOOK
from workers.order import HookRun
from workers.writes import Writer


class Hooks:
    """The hooks of one run."""

    def __init__(self, writer: Writer, revision: str) -> None:
        self._writer, self._revision = writer, revision

    async def start(self, hook: HookRun) -> bool:
        """Create the hook, unless it was under this revision; what an earlier one left goes first, where its policy says so.

        False: it can't be; the error is noted.
        """
        wanted = hook.item.wanted._replace(key=hook.key)
        resource = await self._writer.resource(wanted)
        if resource is None:
            return False
        try:
            live = await self._live(resource, hook)
            if live is not None and _digest_of(live) == self._digest(hook):
                return True
            if live is not None and DeletePolicy.BEFORE_CREATION in hook.item.directives.delete_policies:
                await self._remove(resource, hook)
            await self._writer.apply(wanted, resource, self._digest(hook))
        except ApiError as error:
            self._writer.progress.fail(wanted, f"hook: {error}", retry=error.retryable)
            return False
        self._writer.progress.record.applied += 1
        return True

    async def ended(self, hook: HookRun, *, well: bool) -> None:
        """The hook has ended: delete it, if it asks for that.

        :raises ApiError: the server refused.
        """
        policy = DeletePolicy.SUCCEEDED if well else DeletePolicy.FAILED
        resource = await self._writer.resource(hook.item.wanted)
        if policy in hook.item.directives.delete_policies and resource is not None:
            await self._remove(resource, hook)

    async def remove(self, hook: HookRun) -> None:
        """Delete what the hook made, whatever its policies say.

        :raises ApiError: the server refused.
        """
        if (resource := await self._writer.resource(hook.item.wanted)) is not None:
            await self._remove(resource, hook)

    def _digest(self, hook: HookRun) -> str:
        """What marks the object that this very run of the hook made."""
        text = f"{self._revision} {hook.id} {hook.item.wanted.sketch.hash}"
        return HOOK + hashlib.sha256(text.encode()).hexdigest()[:32]

    async def _live(self, resource: Resource, hook: HookRun) -> dict[str, Any] | None:
        return await removal.metadata_of(
            self._writer.cluster.client, resource, hook.key, deadline=self._writer.lease.remaining
        )

    async def _remove(self, resource: Resource, hook: HookRun) -> None:
        await self._writer.cluster.replace_away(
            resource,
            hook.key,
            self._writer.application.name,
            self._writer.applyset.id,
            account=self._writer.account,
            deadline=self._writer.lease.remaining,
        )


def hook_health(group_kind: str, obj: dict[str, Any], health: Health) -> Health:
    """A hook that runs is done when it has ended; any other when it is healthy."""
    status = mapping(obj, "status")
    if group_kind == "Pod":
        phase = status.get("phase")
        if phase == "Failed":
            return failed("PodFailed", "the pod failed")
        return CURRENT if phase == "Succeeded" else in_progress("Running", "the pod hasn't ended yet")
    if group_kind == "Job.batch" and health.status is Status.CURRENT and not status.get("completionTime"):
        return in_progress("Running", "the job hasn't ended yet")
    return health


def _digest_of(metadata: dict[str, Any]) -> str:
    found = (metadata.get("annotations") or {}).get(HASH, "")
    return found if isinstance(found, str) else ""
