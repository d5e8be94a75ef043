"""The CustomResourceDefinitions on the real API server, and a namespace for each test."""

from __future__ import annotations

import time
import urllib.error
from collections.abc import Iterator
from typing import Any

import pytest

from tests.parts.control_plane import ControlPlane
from windlass.documents.crds import GROUP, VERSION, definitions, plural

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def place(namespace: str, kind: str) -> str:
    """Where the resources of a kind are."""
    return f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{plural(kind)}"


def resource(kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}


@pytest.fixture(scope="session")
def defined(control_plane: ControlPlane) -> ControlPlane:
    """The control plane, with Windlass' kinds."""
    for made in definitions():
        name = made["metadata"]["name"]
        path = f"{DEFINITIONS}/{name}?fieldManager=tests&force=true"
        control_plane.request("PATCH", path, made, content_type="application/apply-patch+yaml")
        deadline = time.monotonic() + 60
        while not served(control_plane, made["spec"]["names"]["plural"]):
            assert time.monotonic() < deadline, f"{name} is not served"
            time.sleep(0.1)
    return control_plane


def served(control_plane: ControlPlane, resources: str) -> bool:
    try:
        control_plane.request("GET", f"/apis/{GROUP}/{VERSION}/{resources}")
    except urllib.error.HTTPError:
        return False
    return True


@pytest.fixture
def namespace(defined: ControlPlane, unique: str) -> Iterator[str]:
    defined.request("POST", "/api/v1/namespaces", {"metadata": {"name": unique}})
    yield unique
    defined.request("DELETE", f"/api/v1/namespaces/{unique}")
