"""Waiting until a CustomResourceDefinition can be used: its resources may come in the same commit.

"Established" alone is not enough: discovery follows a moment later, and a resource applied in between is a 404.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import Any

from workers.kube.discovery import Discovery, Resource
from workers.kube.errors import ApiError
from workers.kube.transport import KubeClient

DEFINITION = Resource(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", False, frozenset()
)
SERVED_LOOK_SECONDS = 0.05


async def established(client: KubeClient, name: str, timeout: float) -> None:
    """Return as soon as the definition ``name`` is established, and discovery names every version that it serves.

    :param timeout: seconds for all of it.
    :raises ApiError: it isn't by then, with the server's reason.
    """
    end = time.monotonic() + timeout
    definition = (await client.request("GET", DEFINITION.path(name=name), timeout=timeout)).json()
    if not _is_established(definition):
        definition = await _watched(client, name, definition, end)
    discovery = Discovery(client)
    names = definition["spec"]["names"]
    for version in definition["spec"]["versions"]:
        api_version = f"{definition['spec']['group']}/{version['name']}"
        while version.get("served") and await discovery.resource(api_version, names["kind"]) is None:
            if time.monotonic() > end:
                raise _not_ready(name, f"{api_version} {names['kind']} isn't served")
            await asyncio.sleep(SERVED_LOOK_SECONDS)
            discovery.forget()


async def _watched(client: KubeClient, name: str, definition: dict[str, Any], end: float) -> dict[str, Any]:
    params = {"fieldSelector": f"metadata.name={name}", "resourceVersion": definition["metadata"]["resourceVersion"]}
    while (left := end - time.monotonic()) > 0:
        async with aclosing(client.watch(DEFINITION.path(), params=params, seconds=left)) as events:
            async for event in events:
                if event["type"] == "DELETED":
                    raise _not_ready(name, "it was deleted")
                if event["type"] in ("ADDED", "MODIFIED") and _is_established(event["object"]):
                    found: dict[str, Any] = event["object"]
                    return found
        definition = (await client.request("GET", DEFINITION.path(name=name))).json()
        if _is_established(definition):
            return definition
        params["resourceVersion"] = definition["metadata"]["resourceVersion"]
        await asyncio.sleep(SERVED_LOOK_SECONDS)
    raise _not_ready(name, _reason(definition))


def _conditions(definition: dict[str, Any]) -> dict[str, dict[str, Any]]:
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return {condition["type"]: condition for condition in conditions}


def _is_established(definition: dict[str, Any]) -> bool:
    return _conditions(definition).get("Established", {}).get("status") == "True"


def _reason(definition: dict[str, Any]) -> str:
    refused = [c for c in _conditions(definition).values() if c.get("status") == "False" and c.get("message")]
    return "; ".join(condition["message"] for condition in refused) or "no answer of its controller"


def _not_ready(name: str, why: str) -> ApiError:
    return ApiError(f"the CustomResourceDefinition {name} can't be used yet: {why}", retryable=True)
