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
from workers.kube.keys import ObjectKey
from workers.kube.managed_fields import HASH
from workers.kube.members import HOOK
from workers.order import HookRun
from workers.writes import Writer

SEEN_SECONDS = 600
"""How long a Job that ended stays at least: longer than nobody may look at it, as while workers are restarted."""


class Hooks:
    """The hooks of one run."""

    def __init__(self, writer: Writer, revision: str) -> None:
        self._writer, self._revision = writer, revision

    async def start(self, hook: HookRun, *, again: bool = False) -> bool:
        """Create the hook, unless it was under this revision; what an earlier one left goes first, where its policy says so.

        ``again``: what this revision made has failed, and is made anew where its policy allows it. False: it can't be; the
        error is noted.
        """
        wanted = hook.item.wanted._replace(key=hook.key)
        resource = await self._writer.resource(wanted)
        if resource is None:
            return False
        try:
            live = await self._live(resource, hook.key)
            anew = DeletePolicy.BEFORE_CREATION in hook.item.directives.delete_policies
            if live is not None and _digest_of(live) == self._digest(hook) and not (again and anew):
                return True
            if live is not None and anew:
                await self._remove(resource, hook.key)
            await self._writer.apply(wanted, resource, self._digest(hook), amend=seen_to_its_end)
        except ApiError as error:
            self._writer.progress.fail(wanted, f"hook: {error}", retry=error.retryable)
            return False
        self._writer.progress.record.applied += 1
        return True

    async def failed(self, hook: HookRun) -> None:
        """The hook has failed: delete it, if it asks for that.

        :raises ApiError: the server refused.
        """
        if DeletePolicy.FAILED in hook.item.directives.delete_policies:
            await self.remove(hook)

    async def delete(self, key: ObjectKey) -> None:
        """Delete what a hook made that Git may no longer have. Redis named it, so nothing but a hook goes by that name.

        :raises ApiError: the server refused, or it isn't this application's.
        """
        resource = await self._writer.cluster.discovery.preferred(key.group, key.kind)
        if resource is None:
            return
        live = await self._live(resource, key)
        if live is not None and _digest_of(live).startswith(HOOK):
            await self._remove(resource, key)

    async def remove(self, hook: HookRun) -> None:
        """Delete what the hook made, whatever its policies say.

        :raises ApiError: the server refused.
        """
        if (resource := await self._writer.resource(hook.item.wanted)) is not None:
            await self._remove(resource, hook.key)

    def _digest(self, hook: HookRun) -> str:
        """What marks the object that this very run of the hook made."""
        text = f"{self._revision} {hook.id} {hook.item.wanted.sketch.hash}"
        return HOOK + hashlib.sha256(text.encode()).hexdigest()[:32]

    async def _live(self, resource: Resource, key: ObjectKey) -> dict[str, Any] | None:
        client, deadline = self._writer.cluster.client, self._writer.lease.remaining
        return await removal.metadata_of(client, resource, key, deadline=deadline)

    async def _remove(self, resource: Resource, key: ObjectKey) -> None:
        await self._writer.cluster.replace_away(
            resource,
            key,
            self._writer.application.name,
            self._writer.applyset.id,
            account=self._writer.account,
            deadline=self._writer.lease.remaining,
        )


def seen_to_its_end(body: dict[str, Any]) -> dict[str, Any]:
    """A Job that takes itself away soon after it ended would be gone before anybody saw whether it succeeded: charts ask for
    that (`ttlSecondsAfterFinished: 0`), because Helm waits beside it. It stays for `SEEN_SECONDS`; the delete policies go first.
    """
    ttl = mapping(body, "spec").get("ttlSecondsAfterFinished")
    if body.get("kind") != "Job" or not isinstance(ttl, int) or ttl >= SEEN_SECONDS:
        return body
    return {**body, "spec": {**body["spec"], "ttlSecondsAfterFinished": SEEN_SECONDS}}


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
