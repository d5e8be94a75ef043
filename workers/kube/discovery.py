"""Which kinds the cluster has, and where they live: aggregated discovery, asked once and kept.

What must hold: an unknown kind is looked up again at most once a second, so that 10,000 objects of a kind that isn't
there cost one request, and a CustomResourceDefinition that has just been applied is still found at once (after
`forget`).
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from workers.kube.errors import ApiError
from workers.kube.transport import segment

if TYPE_CHECKING:
    from workers.kube.transport import KubeClient

AGGREGATED = ",".join(
    f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList" for version in ("v2", "v2beta1")
)
"""One document for all groups: Kubernetes 1.30 (v2), 1.27 (v2beta1)."""
REFRESH_SECONDS = 1.0


class Resource(NamedTuple):
    """How a kind of one API version is named and addressed."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: frozenset[str]

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_kind(self) -> str:
        return f"{self.kind}.{self.group}" if self.group else self.kind

    def path(self, namespace: str = "", name: str = "") -> str:
        """The path of one object, or (without a name) of the collection, in one namespace or in all."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        if namespace and self.namespaced:
            root += f"/namespaces/{segment(namespace)}"
        return f"{root}/{self.plural}/{segment(name)}" if name else f"{root}/{self.plural}"


CONFIG_MAP = Resource("", "v1", "ConfigMap", "configmaps", True, frozenset())
NAMESPACE = Resource("", "v1", "Namespace", "namespaces", False, frozenset())


class Discovery:
    """The kinds of one cluster."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._resources: dict[tuple[str, str], Resource] = {}
        self._preferred: dict[tuple[str, str], Resource] = {}
        self._uncertain: frozenset[str] = frozenset()
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()

    async def resource(self, api_version: str, kind: str) -> Resource | None:
        """How the cluster serves ``kind`` of ``api_version``; None: it doesn't."""
        found = self._resources.get((api_version, kind))
        if found is None and await self._refreshed():
            found = self._resources.get((api_version, kind))
        return found

    async def preferred(self, group: str, kind: str) -> Resource | None:
        """The same of the version that the cluster prefers, for a kind that is known by its group only."""
        found = self._preferred.get((group, kind))
        if found is None and await self._refreshed():
            found = self._preferred.get((group, kind))
        return found

    async def versions(self) -> tuple[str, ...]:
        """All that the cluster serves, as Helm's ``--api-versions`` takes it: ``apps/v1`` and ``apps/v1/Deployment``."""
        if not self._resources:
            await self._refreshed()
        served = {text for api, kind in self._resources for text in (api, f"{api}/{kind}")}
        return tuple(sorted(served))

    def is_certain(self, group: str) -> bool:
        """Can "it has no such kind" be believed of ``group``? Not while the extension server that serves it is away."""
        return group not in self._uncertain

    def forget(self, resource: Resource | None = None) -> None:
        """Something was defined just now, or ``resource`` answered 404: the next kind that isn't known is looked up at
        once. Everything else stays known."""
        self._read_at = float("-inf")
        if resource is not None:
            self._resources.pop((resource.api_version, resource.kind), None)
            self._preferred.pop((resource.group, resource.kind), None)

    async def _refreshed(self) -> bool:
        asked = time.monotonic()
        async with self._lock:
            if self._read_at >= asked:
                return True  # somebody else read it while we waited
            if asked - self._read_at < REFRESH_SECONDS:
                return False
            core, groups = await asyncio.gather(self._read("/api"), self._read("/apis"))
            self._learn([*core, *groups])
            self._read_at = time.monotonic()
            return True

    async def _read(self, path: str) -> list[dict[str, Any]]:
        answer = (await self._client.request("GET", path, accept=AGGREGATED)).json()
        if answer.get("kind") != "APIGroupDiscoveryList":
            raise ApiError("the API server has no aggregated discovery: Windlass needs Kubernetes 1.27 or newer")
        items: list[dict[str, Any]] = answer.get("items") or []
        return items

    def _learn(self, groups: list[dict[str, Any]]) -> None:
        resources: dict[tuple[str, str], Resource] = {}
        preferred: dict[tuple[str, str], Resource] = {}
        uncertain = set()
        for group in groups:
            name = group["metadata"].get("name") or ""
            for version in group.get("versions") or ():
                if version.get("freshness") == "Stale":
                    uncertain.add(name)
                for resource in _resources(name, version):
                    resources[resource.api_version, resource.kind] = resource
                    preferred.setdefault((name, resource.kind), resource)
        self._resources, self._preferred, self._uncertain = resources, preferred, frozenset(uncertain)


def _resources(group: str, version: dict[str, Any]) -> list[Resource]:
    """What one version of a group serves; the server lists a group's versions with the preferred one first."""
    return [
        Resource(
            group,
            version["version"],
            item["responseKind"]["kind"],
            item["resource"],
            item.get("scope") == "Namespaced",
            frozenset(item.get("verbs") or ()),
        )
        for item in version.get("resources") or ()
        if (item.get("responseKind") or {}).get("kind")
    ]
