"""The cluster of a demo: a control plane of our own, or the one that a kubeconfig names."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.parts.control_plane import ControlPlane
from windlass.documents.types import Cluster as Document
from windlass.documents.types import ClusterSpec
from windlass.secrets import Secrets
from workers.kube.connect import connect
from workers.kube.errors import ApiError


class Cluster:
    """A cluster to look at, started here unless ``kubeconfig`` names one."""

    def __init__(self, folder: Path, kubeconfig: str | None, *, nodes: int) -> None:
        self.owned = not kubeconfig
        self._plane = None if kubeconfig else ControlPlane(folder, nodes=nodes)
        self.kubeconfig = Path(kubeconfig) if kubeconfig else folder / "kubeconfig"
        self.server = self._plane.server if self._plane else str(self.kubeconfig)

    def __enter__(self) -> Cluster:
        if self._plane:
            self._plane.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._plane:
            self._plane.stop()

    def get(self, path: str) -> dict[str, Any] | None:
        """An object or list; None if there is none."""
        return asyncio.run(self._get(path))

    async def _get(self, path: str) -> dict[str, Any] | None:
        client = await connect(Document("demo", ClusterSpec(kubeconfig=str(self.kubeconfig))), Secrets())
        try:
            found: dict[str, Any] = (await client.request("GET", path)).json()
        except ApiError as error:
            if error.missing:
                return None
            raise
        finally:
            await client.close()
        return found
