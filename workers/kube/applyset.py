"""An application's ApplySet (KEP-3659): which objects are its own is known to the cluster, not only to us.

The parent is a ConfigMap in Windlass's own namespace of the destination cluster. What must hold:

- It names the group kinds and namespaces of every member, *before* the first member of that kind is applied: what it
  doesn't name, nobody looks for. It is narrowed only after a complete prune.
- It is written from what was read at a resourceVersion, never over what another worker wrote since.
- A parent of other tooling, of another installation of Windlass, or a ConfigMap that is none, is refused. Installations are
  told apart by their names (`WINDLASS_INSTALLATION`), which the parent carries; to take an application over from another
  one, take that annotation off its parent. Two without a name are not told apart.

It is used under the application's lease, so by one run at a time.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Collection
from typing import Any, NamedTuple

import orjson
import structlog

from workers.kube.apply import APPLY, WRITE_SECONDS
from workers.kube.discovery import CONFIG_MAP, NAMESPACE, Discovery
from workers.kube.errors import ApiError
from workers.kube.keys import ObjectKey
from workers.kube.managed_fields import PREFIX
from workers.kube.members import Member, is_empty, list_members
from workers.kube.transport import METADATA, Deadline, KubeClient

__all__ = ("ApplySet", "ForeignParentError", "Member", "Parent", "applyset_id", "parent_name")

log = structlog.get_logger(__name__)

MANAGER = "windlass"
TOOLING = "windlass/v1alpha1"
ID = "applyset.kubernetes.io/id"
TOOLING_KEY = "applyset.kubernetes.io/tooling"
GROUP_KINDS = "applyset.kubernetes.io/contains-group-kinds"
NAMESPACES = "applyset.kubernetes.io/additional-namespaces"
REVISION = "windlass.dev/revision"
HOLD = "windlass.dev/hold"
INSTALLATION = "windlass.dev/installation"
DELETION_POLICY = "windlass.dev/deletion-policy"

REVISION_SECONDS = 300.0
"""A parent whose revision is out of date is written for that alone only once in this time: a push costs its diff, no
more."""
ROUNDS = 5


class ForeignParentError(ApiError):
    """The parent's place is taken by an object of other tooling, or of another installation."""


class Parent(NamedTuple):
    """What the parent says; ``version`` is its resourceVersion, "" before there is one."""

    group_kinds: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()
    revision: str = ""
    version: str = ""
    hold: str = ""  # of a rollback, as `windlass.hold.Hold` writes it
    installation: str = ""


def parent_name(application: str) -> str:
    return f"application-{application}"


def is_parent(key: ObjectKey, namespace: str) -> bool:
    """Is ``key`` an application's parent, now or some day? ``namespace`` is Windlass's own."""
    return key.group_kind == "ConfigMap" and key.namespace == namespace and key.name.startswith(parent_name(""))


def applyset_id(application: str, namespace: str) -> str:
    """The V1 id of KEP-3659: a hash of the parent's name, namespace, kind and (empty) group."""
    digest = hashlib.sha256(f"{parent_name(application)}.{namespace}.ConfigMap.".encode()).digest()
    return f"applyset-{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}-v1"


class ApplySet:
    """The ApplySet of one application; remembers what its parent says, so that most runs need not ask."""

    def __init__(
        self,
        client: KubeClient,
        application: str,
        namespace: str,
        *,
        deletion_policy: str = "delete",
        installation: str = "",
    ) -> None:
        """``namespace`` is Windlass's own in that cluster; it is made when the parent is, if it isn't there."""
        self.id = applyset_id(application, namespace)
        self._client, self._namespace, self._deletion_policy = client, namespace, deletion_policy
        self._installation = installation
        self._name, self._manager = parent_name(application), PREFIX + application
        self._path = CONFIG_MAP.path(namespace, self._name)
        self._known: Parent | None = None
        self._known_at = 0.0

    @property
    def version(self) -> str:
        """The parent's resourceVersion as last seen, "" for none. Kept with the application's state it tells the next
        holder of the lease (see `ensure`) whether its own memory of the parent still holds."""
        return self._known.version if self._known else ""

    @property
    def revision(self) -> str:
        """The commit that the parent names, as last seen: applied, or at most `REVISION_SECONDS` older than what is."""
        return self._known.revision if self._known else ""

    async def read(self) -> Parent | None:
        """What the parent says now; None: there is none.

        :raises ForeignParentError: it is not ours.
        """
        try:
            metadata = (await self._client.request("GET", self._path, accept=METADATA)).json()["metadata"]
        except ApiError as error:
            if not error.missing:
                raise
            self._remember(Parent())
            return None
        self._check(metadata)
        return self._remember(_parent(metadata))

    async def ensure(
        self,
        group_kinds: Collection[str],
        namespaces: Collection[str],
        *,
        revision: str,
        deadline: Deadline | None = None,
        version: str | None = None,
    ) -> None:
        """The parent names ``group_kinds`` and ``namespaces`` from now on. No request at all if it did so already.

        :param revision: the commit about to be applied; written along with a change, or alone after `REVISION_SECONDS`.
        :param version: the parent's `version` when the application was last worked on, by whichever worker; if it
            isn't the one seen here, the parent is read again. None: trust what this process remembers.
        :raises ForeignParentError: the parent is not ours.
        """
        if self._known is None or (version is not None and version != self._known.version):
            await self.read()
        assert self._known is not None
        places = frozenset(namespaces) - {self._namespace}  # the parent's own goes without saying
        missing = not (self._known.group_kinds.issuperset(group_kinds) and self._known.namespaces.issuperset(places))
        stale = self._known.revision != revision and time.monotonic() - self._known_at > REVISION_SECONDS
        if missing or stale or not self._known.version or self._known.installation != self._installation:
            await self._write(frozenset(group_kinds), places, revision, deadline)

    async def members(self, discovery: Discovery) -> tuple[list[Member], dict[str, str]]:
        """Everything that carries our label, and the group kinds that can't be listed, with the reason.

        :raises ForeignParentError: the parent is not ours.
        """
        parent = await self.read()
        if parent is None:
            return [], {}
        return await list_members(
            self._client,
            discovery,
            group_kinds=parent.group_kinds,
            namespaces=parent.namespaces | {self._namespace},
            manager=self._manager,
            applyset_id=self.id,
        )

    async def narrow_after_prune(
        self, group_kinds: Collection[str], discovery: Discovery, *, deadline: Deadline | None = None
    ) -> None:
        """After a complete prune of objects of ``group_kinds``: let the parent name only what still has members.

        One short list a group kind; the whole look at the cluster only when one of them has become empty.
        """
        parent = await self.read()
        if parent is None:
            return
        places = parent.namespaces | {self._namespace}
        for group_kind in parent.group_kinds.intersection(group_kinds):
            if await is_empty(self._client, discovery, group_kind, places, self.id):
                break
        else:
            return
        members, unlisted = await self.members(discovery)
        if not unlisted:
            ours = [member.key for member in members if member.ours]
            await self.narrow(
                {k.group_kind for k in ours}, {k.namespace for k in ours if k.namespace}, deadline=deadline
            )

    async def narrow(
        self, group_kinds: Collection[str], namespaces: Collection[str], *, deadline: Deadline | None = None
    ) -> None:
        """The parent names exactly these from now on, if nobody wrote it since it was read last.

        :raises ApiError: somebody did (409): then it stays wide, which costs a list and loses nothing.
        """
        assert self._known is not None, "narrow what was read"
        places = frozenset(namespaces) - {self._namespace}
        parent = self._known._replace(group_kinds=frozenset(group_kinds), namespaces=places)
        if parent != self._known:
            await self._put(parent, deadline)

    async def hold(self, text: str, *, deadline: Deadline | None = None) -> None:
        """The parent says from now on that a rollback holds; "": none does.

        :raises ApiError: somebody wrote it since it was read last (409), or there is no parent (404).
        """
        assert self._known is not None, "say so of what was read"
        if not self._known.version:
            raise ApiError(f"there is no parent {self._namespace}/{self._name}: nothing is applied", status=404)
        if text != self._known.hold:
            await self._put(self._known._replace(hold=text), deadline)

    async def remove(self, *, deadline: Deadline | None = None) -> None:
        """Delete the parent, after all members are gone."""
        if await self.read() is None:
            return
        options = {"preconditions": {"resourceVersion": self.version}}
        await self._client.request("DELETE", self._path, body=orjson.dumps(options), accept=METADATA, deadline=deadline)
        self._remember(Parent())

    async def _write(
        self, group_kinds: frozenset[str], namespaces: frozenset[str], revision: str, deadline: Deadline | None
    ) -> None:
        for last in (False,) * (ROUNDS - 1) + (True,):
            assert self._known is not None
            wider = self._known.group_kinds | group_kinds, self._known.namespaces | namespaces
            try:
                await self._put(
                    self._known._replace(group_kinds=wider[0], namespaces=wider[1], revision=revision), deadline
                )
            except ApiError as error:
                if error.missing and "namespaces" in str(error):
                    await self._make_namespace(deadline)
                elif not error.conflict or last:
                    raise
                await self.read()
            else:
                return

    async def _put(self, parent: Parent, deadline: Deadline | None) -> None:
        metadata: dict[str, Any] = {
            "name": self._name,
            "namespace": self._namespace,
            "labels": {ID: self.id},
            "annotations": {
                TOOLING_KEY: TOOLING,
                GROUP_KINDS: ",".join(sorted(parent.group_kinds)),
                NAMESPACES: ",".join(sorted(parent.namespaces)),
                REVISION: parent.revision,
                **({INSTALLATION: self._installation} if self._installation else {}),
                DELETION_POLICY: self._deletion_policy,
                **({HOLD: parent.hold} if parent.hold else {}),
            },
        }
        if parent.version:
            metadata["resourceVersion"] = parent.version
        # Forced: the annotations are ours, whoever edited them.
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        written = await self._apply(self._path, body, deadline, force=True)
        version = written["metadata"]["resourceVersion"]
        self._remember(parent._replace(version=version, installation=self._installation))
        log.info("applyset.written", parent=self._name, group_kinds=len(parent.group_kinds), revision=parent.revision)

    async def _make_namespace(self, deadline: Deadline | None) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self._namespace}}
        await self._apply(NAMESPACE.path(name=self._namespace), body, deadline, force=False)

    async def _apply(self, path: str, body: dict[str, Any], deadline: Deadline | None, *, force: bool) -> Any:
        answer = await self._client.request(
            "PATCH",
            path,
            params={"fieldManager": MANAGER, "force": str(force).lower()},
            body=orjson.dumps(body),
            content_type=APPLY,
            accept=METADATA,
            timeout=WRITE_SECONDS,
            deadline=deadline,
        )
        return answer.json()

    def _check(self, metadata: dict[str, Any]) -> None:
        tooling = (metadata.get("annotations") or {}).get(TOOLING_KEY, "")
        if (metadata.get("labels") or {}).get(ID) != self.id or tooling.partition("/")[0] != MANAGER:
            owner = f"is an ApplySet's parent of {tooling}" if tooling else "is not an ApplySet's parent"
            message = f"the ConfigMap {self._namespace}/{self._name} {owner}: not touched"
            raise ForeignParentError(message, status=409, reason="ForeignParent", retryable=False)
        other = metadata["annotations"].get(INSTALLATION, "")
        if other and other != self._installation:
            take = f"kubectl annotate -n {self._namespace} configmap {self._name} {INSTALLATION}-"
            message = f"this application is the installation {other}'s on this cluster; to take it over: {take}"
            raise ForeignParentError(message, status=409, reason="ForeignParent", retryable=False)

    def _remember(self, parent: Parent) -> Parent:
        self._known, self._known_at = parent, time.monotonic()
        return parent


def _parent(metadata: dict[str, Any]) -> Parent:
    annotations = metadata.get("annotations") or {}
    return Parent(
        _split(annotations.get(GROUP_KINDS, "")),
        _split(annotations.get(NAMESPACES, "")),
        annotations.get(REVISION, ""),
        metadata["resourceVersion"],
        annotations.get(HOLD, ""),
        annotations.get(INSTALLATION, ""),
    )


def _split(text: str) -> frozenset[str]:
    return frozenset(filter(None, (item.strip() for item in text.split(","))))
