"""Objects deleted and created anew: where the API server allows no other way, and Jobs that ask to run with new content.

What must hold: an object is deleted only once Redis knows that it is to be made again, so that whoever comes next makes it,
also if this process dies in between and also if Git goes back to what was applied before; nobody else waits for finalizers;
and what is there with the content that Git wants is left alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from workers.kube import removal
from workers.kube.discovery import Resource
from workers.kube.errors import ApiError
from workers.kube.keys import PRECIOUS
from workers.kube.managed_fields import HASH, PREFIX, is_member
from workers.kube.removal import GONE_SECONDS
from workers.kube.transport import Deadline, KubeClient
from workers.plan import Wanted

RUNS = frozenset({"Job.batch", "Pod"})
"""What does its work once: an update in place would not do it again."""
LOOK_SECONDS, LONGEST_LOOK = 0.02, 0.5

Mark = Callable[[Wanted], Awaitable[None]]
"""Records that the inventory's entry of an object no longer holds."""


class Going(NamedTuple):
    """An object that is being deleted, to be created anew. ``why``: for people."""

    wanted: Wanted
    resource: Resource
    uid: str
    why: str


class Replacer:
    """The replacements of one run."""

    def __init__(
        self, client: KubeClient, application: str, applyset_id: str, *, mark: Mark, deadline: Deadline
    ) -> None:
        self._client, self._application, self._applyset_id = client, application, applyset_id
        self._mark, self._deadline = mark, deadline
        self.going: list[Going] = []

    async def asks(self, wanted: Wanted, resource: Resource) -> bool:
        """Is it a Job (or Pod) that asks to be made anew with each new content, and is the content in the cluster another?

        Argo CD's `Force=true,Replace=true` makes it anew at every sync, changed or not, so that a Job may run again because
        of a push that has nothing to do with it: what is to run each time is a hook (`windlass.dev/run: each-revision`).
        """
        group_kind, wishes = wanted.key.group_kind, wanted.sketch.directives
        if not wishes.anew or group_kind not in RUNS or group_kind in PRECIOUS or wishes.own_replace is False:
            return False
        live = await removal.metadata_of(self._client, resource, wanted.key, deadline=self._deadline)
        return live is not None and self._ours(live) and _hash_of(live) != wanted.sketch.hash

    async def begin(self, wanted: Wanted, resource: Resource, why: str) -> None:
        """Delete the object, if it is there; `gone` tells when it can be created.

        :raises ApiError: it isn't ours, it changed meanwhile, or the server refused.
        """
        live = await removal.metadata_of(self._client, resource, wanted.key, deadline=self._deadline)
        if live is not None and not self._ours(live):
            raise ApiError("it isn't this application's, so it is not deleted", status=409, retryable=False)
        await self._mark(wanted)
        if live is not None and not live.get("deletionTimestamp"):
            try:
                await removal.delete(self._client, resource, wanted.key, live, deadline=self._deadline)
            except ApiError as error:
                if not error.missing:
                    raise
        self.going.append(Going(wanted, resource, live["uid"] if live is not None else "", why))

    async def gone(self) -> tuple[list[Going], list[tuple[Going, str]]]:
        """Wait for all that was begun, `GONE_SECONDS` at most: what is gone, and what isn't, with the finalizers that it has.

        :raises ApiError: the server doesn't say.
        """
        left, self.going = self.going, []
        gone: list[Going] = []
        end, pause = time.monotonic() + GONE_SECONDS, LOOK_SECONDS
        while True:
            found = await asyncio.gather(*map(self._live, left))
            held = [(one, live) for one, live in zip(left, found, strict=True) if live is not None]
            gone += [one for one, live in zip(left, found, strict=True) if live is None]
            left = [one for one, _ in held]
            if not left or time.monotonic() > end:
                return gone, [(one, ", ".join(live.get("finalizers") or ()) or "none") for one, live in held]
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_LOOK)

    async def _live(self, one: Going) -> dict[str, Any] | None:
        live = await removal.metadata_of(self._client, one.resource, one.wanted.key, deadline=self._deadline)
        return live if live is not None and live["uid"] == one.uid else None

    def _ours(self, metadata: dict[str, Any]) -> bool:
        return is_member(metadata, PREFIX + self._application, self._applyset_id)


def _hash_of(metadata: dict[str, Any]) -> str:
    return str((metadata.get("annotations") or {}).get(HASH, ""))
