"""One object made equal to its manifest by server-side apply: most often one request.

The first try is an apply without force. Everything else happens only when the server answers 409, or when the answer's
managedFields show that a person or a former tool owns fields of the object: then `workers.kube.contest` decides, the
former owners' entries are merged into ours, and a second apply makes the object equal to Git. Both writes name the
resourceVersion at which it was decided; if anything changed since, it is decided anew, so that force never takes a
field that was not looked at.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import orjson
import structlog

from workers.kube import managed_fields
from workers.kube.contest import Contest, MayTake, Rules, decide, nobody_may_take
from workers.kube.discovery import Resource
from workers.kube.dress import dress, normalized
from workers.kube.errors import ApiError, Conflict
from workers.kube.handoff import Handoff, Left
from workers.kube.keys import ObjectKey
from workers.kube.managed_fields import HUMAN, PREFIX
from workers.kube.transport import METADATA, Deadline, KubeClient

log = structlog.get_logger(__name__)

APPLY = "application/apply-patch+yaml"  # JSON is YAML, and quicker to write
JSON_PATCH = "application/json-patch+json"
WRITE_SECONDS = 15.0
"""For one write; an admission webhook, the slowest part of one, has 10 s by default."""
ROUNDS = 8
"""How often other writers may overtake us on one object before that is an error."""
CREATED = 201
OVERTAKEN_SECONDS = 0.05
"""A pause for the other writer."""


class Applied(NamedTuple):
    """An object as the server has it now; ``fields`` is the digest of the fields that we own.

    ``took`` says, for people, what was taken from whom.
    """

    uid: str
    resource_version: str
    fields: str
    took: list[str]


class Applier:
    """Applies the objects of one application to one cluster."""

    def __init__(
        self,
        client: KubeClient,
        application: str,
        applyset_id: str,
        *,
        force: bool = False,
        may_take: MayTake | None = None,
        human: tuple[str, ...] = HUMAN,
    ) -> None:
        """``human`` are patterns (as the shell's) of the managers that give way to Git."""
        self._client, self._applyset_id = client, applyset_id
        self._manager = PREFIX + application
        self._rules = Rules(self._manager, applyset_id, force, may_take or nobody_may_take, human)

    async def apply(
        self,
        resource: Resource,
        body: dict[str, Any],
        *,
        digest: str,
        previous: dict[str, Any] | None = None,
        deadline: Deadline | None = None,
        left: Left | None = None,
        settled: bool = False,
    ) -> Applied:
        """Make the object equal to ``body`` (which is copied, and marked as ours).

        :param digest: the hash of what Git says; kept on the object.
        :param previous: the manifest that this application applied before, where it is known.
        :param left: what of the object is left to others; ``settled``: it was left out before, under the same rules.
        :raises ConflictError: others keep fields that Git names, or another application has the object.
        :raises ApiError: the server refused it.
        :raises UnreachableError, LeaseLostError: as `KubeClient.request`.
        """
        handoff = Handoff(left, normalized(body), settled=settled)
        write = _Write(self._client, self._rules, resource, handoff, digest, deadline)
        for last in (False,) * (ROUNDS - 1) + (True,):
            try:
                await write.look()
                metadata = await write.apply()
                if not await write.take(metadata) and not write.again:
                    return self._applied(metadata, write)
            except ApiError as error:
                if last or not (error.conflict or handoff.refused(error)):
                    raise
                if error.conflict:
                    await self._settle(write, managed_fields.conflicts(error.causes), previous)
        raise ApiError("other writers change this object faster than it can be applied", status=409)

    async def _settle(self, write: _Write, conflicts: list[Conflict], previous: dict[str, Any] | None) -> None:
        """Prepare ``write`` for its next try: as the owner of everything that may be taken.

        Whose try was only overtaken (by a controller's status, mostly) meets the same conflicts again: it decides about
        them at once, on the object as it is now.
        """
        write.start_anew()
        metadata = await write.read()
        conflicts = conflicts or write.still_contested(metadata)
        if not conflicts or metadata is None:
            write.handoff.look_again()
            await asyncio.sleep(OVERTAKEN_SECONDS)
            return
        if write.handoff.contested(conflicts):
            return
        handed = await decide(Contest(write.key, conflicts, metadata), self._rules, previous)
        try:
            await write.take(metadata, handed)
        except ApiError as error:
            if not error.conflict:
                raise
            write.start_anew()
            write.handoff.look_again()
        else:
            write.insist(conflicts, metadata)

    def _applied(self, metadata: dict[str, Any], write: _Write) -> Applied:
        took = list(dict.fromkeys(write.took))
        if took:
            log.info("object.taken", object=str(write.key), took=took, manager=self._manager)
        fields = managed_fields.fields_digest(metadata.get("managedFields") or (), self._manager)
        return Applied(metadata["uid"], metadata["resourceVersion"], fields, took)


class _Write:
    """The tries at one object: where it is, what is sent, and (after a contest) at which resourceVersion, with
    force."""

    def __init__(
        self,
        client: KubeClient,
        rules: Rules,
        resource: Resource,
        handoff: Handoff,
        digest: str,
        deadline: Deadline | None,
    ) -> None:
        self.key = ObjectKey.of(handoff.body)
        self.handoff, self.took = handoff, list[str]()
        self.again = False  # what was applied last isn't yet what is wanted
        self._client, self._rules, self._manager, self._resource = client, rules, rules.manager, resource
        self._digest, self._deadline = digest, deadline
        self._path = resource.path(self.key.namespace, self.key.name)
        self._force, self._version = False, ""
        self._contested: tuple[list[Conflict], object] = [], None

    def start_anew(self) -> None:
        self._force, self._version = False, ""

    def still_contested(self, metadata: dict[str, Any] | None) -> list[Conflict]:
        """What was insisted on before, if nobody's fields have changed since but those of a status."""
        conflicts, owners = self._contested
        return conflicts if metadata is not None and owners == _owners(metadata) else []

    def insist(self, conflicts: list[Conflict], metadata: dict[str, Any]) -> None:
        """All of ``conflicts`` may be taken, as the object was when this was decided."""
        self._force, self._contested = True, (conflicts, _owners(metadata))
        self.took += [f"{self.key}: {conflict.field} from {conflict.manager}" for conflict in conflicts]

    async def look(self) -> None:
        """Before anything is left out of the object that was not left out before: whoever owns it must own it first."""
        if self.handoff.unsure:
            metadata = await self.read()
            self.handoff.looked(metadata)
            if metadata is not None and not await self.take(metadata):
                self.start_anew()

    async def apply(self) -> dict[str, Any]:
        """One apply; returns the object's metadata."""
        digest = self._digest if self.handoff.complete else self._digest.partition("-")[0]
        body = dress(self.handoff.body, self._rules.applyset_id, digest)
        if self._version:
            body["metadata"]["resourceVersion"] = self._version
        params = {"force": "true" if self._force else "false"}
        metadata, created = await self._patch(orjson.dumps(body), APPLY, params)
        self.again = self.handoff.answered(metadata.get("managedFields") or (), self._manager, created=created)
        return metadata

    async def take(self, metadata: dict[str, Any], handed: frozenset[str] = frozenset()) -> bool:
        """Merge what people and the managers ``handed`` own into what we own, so that the next apply removes what Git
        doesn't name; and pass on what is ignored, so that it doesn't.

        False if there is nothing of either. In any case the next apply holds for this state of the object only.
        """

        def former(manager: str) -> bool:
            return manager in handed or (self._rules.is_human(manager) and not self.handoff.is_left_to(manager))

        entries = metadata.get("managedFields") or []
        merged = managed_fields.absorbed(entries, self._manager, self._resource.api_version, former)
        shared = self.handoff.entries(entries if merged is None else merged, self._manager)
        merged = merged if shared is None else shared
        self._version = metadata["resourceVersion"]
        if merged is None:
            return False
        patch = managed_fields.ownership_patch(merged, self._version)
        self._version = (await self._patch(patch, JSON_PATCH, {}))[0]["resourceVersion"]
        gone = managed_fields.others(entries, self._manager)
        self.took += [f"{self.key}: the fields of {manager}" for manager in gone if former(manager)]
        return True

    async def read(self) -> dict[str, Any] | None:
        """The object's metadata; None if it isn't there."""
        try:
            answer = await self._client.request("GET", self._path, accept=METADATA, deadline=self._deadline)
        except ApiError as error:
            if error.missing:
                return None
            raise
        return _metadata(answer.json())

    async def _patch(self, body: bytes, content_type: str, params: dict[str, str]) -> tuple[dict[str, Any], bool]:
        """The object's metadata afterwards, and whether it was created."""
        answer = await self._client.request(
            "PATCH",
            self._path,
            params={"fieldManager": self._manager, **params},
            body=body,
            content_type=content_type,
            accept=METADATA,
            timeout=WRITE_SECONDS,
            deadline=self._deadline,
        )
        return _metadata(answer.json()), answer.status == CREATED


def _owners(metadata: dict[str, Any]) -> list[object]:
    """Who owns what; not of the status, which is not ours to contest."""
    entries = metadata.get("managedFields") or ()
    return [
        (entry.get("manager"), entry.get("operation"), entry.get("apiVersion"), entry.get("fieldsV1"))
        for entry in entries
        if entry.get("subresource") != "status"
    ]


def _metadata(document: dict[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = document["metadata"]
    return metadata
