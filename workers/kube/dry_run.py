"""What an apply would make of an object, by the API server's own word: its defaults, its admission, and nothing written.

What must hold: `DryRunClient` can't write. Whatever is built on it sends GET, or a PATCH with ``dryRun=All``, as which the server
does everything but store the result (admission webhooks with side effects that can't be dry are refused by the server).
A dry run can't build upon another one, so what a run does in several writes (take over a person's fields, hand over ignored
ones) is foreseen here in one, or in two of which the second says what the first couldn't.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from workers.kube import managed_fields, pointers
from workers.kube.apply import APPLY, JSON_PATCH, WRITE_SECONDS
from workers.kube.contest import Contest, Rules, decide
from workers.kube.discovery import Resource
from workers.kube.dress import SERVER_SET, dress, normalized
from workers.kube.errors import ApiError
from workers.kube.fieldsets import FieldSet, minus, union
from workers.kube.handoff import MARKS, Handoff, Left
from workers.kube.keys import ObjectKey
from workers.kube.managed_fields import HASH
from workers.kube.transport import DEFAULT_TIMEOUT, Answer, Deadline, KubeClient

ROUNDS = 3
"""How often somebody else's write may come between the look at an object and its dry run."""
METADATA_FIELDS = ("labels", "annotations", "finalizers", "ownerReferences")


class DryRunClient(KubeClient):
    """A view of a client's connections through which nothing can be changed."""

    @classmethod
    def over(cls, client: KubeClient) -> DryRunClient:
        """The same connections, limiter and identity."""
        view = cls.__new__(cls)
        view.__dict__.update(client.__dict__)
        return view

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        timeout: float = DEFAULT_TIMEOUT,
        deadline: Deadline | None = None,
    ) -> Answer:
        """As `KubeClient.request`; a PATCH is a dry run.

        :raises ValueError: neither GET nor PATCH, or a path with a query of its own.
        """
        if method not in ("GET", "PATCH") or "?" in path or "#" in path:
            raise ValueError(f"not in a dry run: {method}")
        if method == "PATCH":
            params = {**(params or {}), "dryRun": "All"}
        return await super().request(
            method,
            path,
            params=params,
            body=body,
            content_type=content_type,
            accept=accept,
            timeout=timeout,
            deadline=deadline,
        )


class Foreseen(NamedTuple):
    """An object as it is (None: it isn't there), and as a run would leave it; without what is left to others."""

    live: dict[str, Any] | None
    then: dict[str, Any]

    @property
    def equal(self) -> bool:
        """Would nothing change but who owns what?"""
        return self.live is not None and plain(self.live) == plain(self.then)


def plain(obj: dict[str, Any]) -> dict[str, Any]:
    """Without the status, and what only the server or Windlass itself sets at every write."""
    metadata = {name: value for name, value in (obj.get("metadata") or {}).items() if name not in SERVER_SET}
    marks = {name: value for name, value in (metadata.pop("annotations", None) or {}).items() if name != HASH}
    if marks:
        metadata["annotations"] = marks
    return {**{name: value for name, value in obj.items() if name != "status"}, "metadata": metadata}


class DryRun:
    """The dry runs of one application's objects in one cluster."""

    def __init__(self, client: DryRunClient, rules: Rules) -> None:
        """``client`` is the view of whoever writes the objects."""
        self._client, self._rules = client, rules

    async def read(self, resource: Resource, key: ObjectKey) -> dict[str, Any] | None:
        """The object as it is; None: it isn't there."""
        try:
            answer = await self._client.request("GET", resource.path(key.namespace, key.name))
        except ApiError as error:
            if error.missing:
                return None
            raise
        found: dict[str, Any] = answer.json()
        return found

    async def foresee(
        self,
        resource: Resource,
        body: dict[str, Any],
        *,
        digest: str,
        live: dict[str, Any] | None,
        left: Left | None = None,
    ) -> Foreseen:
        """What the apply of ``body`` would come to, ``live`` being the object as `read` found it.

        :raises ConflictError: others keep fields that Git names. :raises ApiError: the server refuses it.
        """
        for _ in range(ROUNDS):
            seen = await self._foresee(resource, body, digest, live, left)
            if _version(seen.live) == _version(seen.then):
                break
            live = await self.read(resource, ObjectKey.of(body))  # somebody wrote it meanwhile: that is no difference
        return seen

    async def _foresee(
        self, resource: Resource, body: dict[str, Any], digest: str, live: dict[str, Any] | None, left: Left | None
    ) -> Foreseen:
        handoff = Handoff(left, normalized(body))
        metadata = live["metadata"] if live is not None else None
        if left is not None:
            handoff.looked(metadata, besides=self._rules.manager)
        sent = dress(handoff.body, self._rules.applyset_id, digest)
        path = resource.path(*_place(sent))
        try:
            then, handed = await self._applied(path, sent, metadata)
        except ApiError as error:
            if live is not None or not error.missing:
                raise
            return Foreseen(None, sent)  # its namespace comes with the same run
        if live is None:
            return Foreseen(None, then)

        def former(manager: str) -> bool:
            return manager in handed or (self._rules.is_human(manager) and not handoff.is_left_to(manager))

        ignored = self._ignored((live, then), left, body)
        entries = then["metadata"].get("managedFields") or []
        handoff.answered(entries, self._rules.manager, created=False)
        extras = minus(_owned(entries, former), union([_owned(entries, lambda one: not former(one)), ignored, MARKS]))
        if extras:
            then = await self._without(path, live, pointers.without(then, extras))
        return Foreseen(*(_less(one, ignored) for one in (live, then)))

    async def _applied(
        self, path: str, sent: dict[str, Any], metadata: dict[str, Any] | None
    ) -> tuple[dict[str, Any], frozenset[str]]:
        """The object after the apply, and the managers of other applications that hand it over."""
        handed: frozenset[str] = frozenset()
        try:
            return await self._patch(path, sent, APPLY, force="false"), handed
        except ApiError as error:
            conflicts = managed_fields.conflicts(error.causes)
            if not error.conflict or not conflicts or metadata is None:
                raise
        handed = await decide(Contest(ObjectKey.of(sent), conflicts, metadata), self._rules, None)
        return await self._patch(path, sent, APPLY, force="true"), handed

    async def _without(self, path: str, live: dict[str, Any], wished: dict[str, Any]) -> dict[str, Any]:
        """``wished`` with the server's defaults for what is gone from it."""
        changes: list[dict[str, Any]] = []
        for name in sorted((live.keys() | wished.keys()) - {"apiVersion", "kind", "metadata", "status"}):
            changes += _change(f"/{pointers.escaped(name)}", live, wished, name)
        for name in METADATA_FIELDS:
            changes += _change(f"/metadata/{name}", live["metadata"], wished["metadata"], name)
        return await self._patch(path, changes, JSON_PATCH) if changes else live

    async def _patch(self, path: str, body: Any, content_type: str, **params: str) -> dict[str, Any]:
        answer = await self._client.request(
            "PATCH",
            path,
            params={"fieldManager": self._rules.manager, **params},
            body=orjson.dumps(body),
            content_type=content_type,
            timeout=WRITE_SECONDS,
        )
        found: dict[str, Any] = answer.json()
        return found

    @staticmethod
    def _ignored(objects: tuple[dict[str, Any], ...], left: Left | None, body: dict[str, Any]) -> FieldSet:
        if left is None:
            return {}
        owned = union(_owned(one["metadata"].get("managedFields") or [], lambda _: True) for one in objects)
        return minus(pointers.chosen(owned, left.pointers, normalized(body)), MARKS)


def _owned(entries: list[dict[str, Any]], who: Any) -> FieldSet:
    return union(
        entry.get("fieldsV1") or {}
        for entry in entries
        if who(entry.get("manager", "")) and entry.get("subresource") != "status"
    )


def _version(obj: dict[str, Any] | None) -> str | None:
    """A dry run leaves the version as it finds it, and one that would create has none to speak of."""
    return obj["metadata"].get("resourceVersion") if obj is not None else None


def _less(obj: dict[str, Any], fields: FieldSet) -> dict[str, Any]:
    found: dict[str, Any] = pointers.without(obj, fields) if fields else obj
    return found


def _place(body: dict[str, Any]) -> tuple[str, str]:
    return body["metadata"].get("namespace") or "", body["metadata"]["name"]


def _change(path: str, live: dict[str, Any], wished: dict[str, Any], name: str) -> list[dict[str, Any]]:
    if name not in wished:
        return [{"op": "remove", "path": path}] if name in live else []
    if name in live and live[name] == wished[name]:
        return []
    return [{"op": "add", "path": path, "value": wished[name]}]
