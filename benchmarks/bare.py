"""The raw limit: what the same work costs without Windlass. A bare asyncio client, and the git CLI."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import yaml

MANAGER = "bare-client"


def _context(kubeconfig: dict[str, Any]) -> ssl.SSLContext:
    cluster, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]

    def read(holder: dict[str, Any], name: str) -> bytes:
        data = holder.get(f"{name}-data")
        return base64.b64decode(data) if data else Path(holder[name]).read_bytes()

    context = ssl.create_default_context(cadata=read(cluster, "certificate-authority").decode())
    with tempfile.NamedTemporaryFile() as pair:
        pair.write(read(user, "client-certificate") + b"\n" + read(user, "client-key"))
        pair.flush()
        context.load_cert_chain(pair.name)
    return context


class BareCluster:
    """One warm session to the API server, and nothing else."""

    def __init__(self, kubeconfig: Path) -> None:
        content = yaml.safe_load(kubeconfig.read_text())
        self.server = content["clusters"][0]["cluster"]["server"]
        self._context = _context(content)
        self.session: aiohttp.ClientSession

    async def __aenter__(self) -> BareCluster:
        connector = aiohttp.TCPConnector(ssl=self._context, limit=0)
        self.session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def apply(self, body: dict[str, Any], path: str) -> float:
        """One server-side apply; returns its seconds."""
        started = time.perf_counter()
        async with self.session.patch(
            f"{self.server}{path}",
            params={"fieldManager": MANAGER, "force": "true"},
            data=orjson.dumps(body),
            headers={
                "Content-Type": "application/apply-patch+yaml",
                "Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
            },
        ) as answer:
            text = await answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"{answer.status}: {text[:300]!r}")
        return time.perf_counter() - started

    async def apply_config_map(self, namespace: str, name: str, data: dict[str, str]) -> float:
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace},
            "data": data,
        }
        return await self.apply(body, f"/api/v1/namespaces/{namespace}/configmaps/{name}")

    async def create_namespace(self, name: str) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await self.apply(body, f"/api/v1/namespaces/{name}")

    async def delete_namespace(self, name: str) -> None:
        async with self.session.delete(f"{self.server}/api/v1/namespaces/{name}") as answer:
            await answer.read()

    async def apply_many(self, namespace: str, names: list[str], concurrency: int, *, value: str = "") -> float:
        """The same applies as a first sync, each of its own value or of ``value``; returns the seconds of all."""
        queue = iter(names)
        started = time.perf_counter()

        async def work() -> None:
            for name in queue:
                await self.apply_config_map(namespace, name, {"value": value or name})

        await asyncio.gather(*(work() for _ in range(concurrency)))
        return time.perf_counter() - started

    async def count(self, namespace: str) -> int:
        """How many ConfigMaps of ours there are, from a metadata list."""
        async with self.session.get(
            f"{self.server}/api/v1/namespaces/{namespace}/configmaps",
            headers={"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"},
        ) as answer:
            items = orjson.loads(await answer.read())["items"] or ()  # null where there are none
        return sum(1 for item in items if item["metadata"]["name"].startswith("cm-"))

    @contextlib.asynccontextmanager
    async def watch(self, namespace: str) -> AsyncIterator[asyncio.Queue[tuple[float, str, dict[str, Any]]]]:
        """The events of a namespace's ConfigMaps from now on: (time, type, object)."""
        async with self.session.get(
            f"{self.server}/api/v1/namespaces/{namespace}/configmaps", params={"limit": "1"}
        ) as answer:
            version = orjson.loads(await answer.read())["metadata"]["resourceVersion"]
        events: asyncio.Queue[tuple[float, str, dict[str, Any]]] = asyncio.Queue()

        async def read() -> None:
            params = {"watch": "1", "resourceVersion": version}
            async with self.session.get(
                f"{self.server}/api/v1/namespaces/{namespace}/configmaps", params=params, read_bufsize=1 << 22
            ) as stream:
                async for line in stream.content:
                    arrived = time.time()
                    event = orjson.loads(line)
                    events.put_nowait((arrived, event["type"], event["object"]))

        task = asyncio.create_task(read())
        try:
            yield events
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def git(*arguments: str, cwd: Path | None = None) -> float:
    """A git command; returns its seconds.

    :raises RuntimeError: with what git said.
    """
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        "git", *arguments, cwd=cwd, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"git {' '.join(arguments)}: {errors.decode()[-500:]}")
    return time.perf_counter() - started
