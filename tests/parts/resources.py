"""Windlass' custom resources on a control plane: their definitions, and resources as people write them."""

from __future__ import annotations

import time
import urllib.error
from typing import Any

from tests.parts.control_plane import ControlPlane
from windlass.documents.crds import GROUP, VERSION, definitions, plural

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def place(namespace: str, kind: str, name: str = "") -> str:
    """Where the resources of a kind are, or one of them."""
    return f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{plural(kind)}" + (f"/{name}" if name else "")


def resource(kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}


def define(control_plane: ControlPlane) -> None:
    """Install the definitions, and wait until the API server serves their kinds."""
    for made in definitions():
        name = made["metadata"]["name"]
        path = f"{DEFINITIONS}/{name}?fieldManager=tests&force=true"
        control_plane.request("PATCH", path, made, content_type="application/apply-patch+yaml")
        deadline = time.monotonic() + 60
        while not _served(control_plane, made["spec"]["names"]["plural"]):
            assert time.monotonic() < deadline, f"{name} is not served"
            time.sleep(0.1)


def _served(control_plane: ControlPlane, resources: str) -> bool:
    try:
        control_plane.request("GET", f"/apis/{GROUP}/{VERSION}/{resources}")
    except urllib.error.HTTPError:
        return False
    return True
