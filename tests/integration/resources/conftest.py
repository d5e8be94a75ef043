"""A namespace for each test, on an API server that knows Windlass' kinds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parts.control_plane import ControlPlane


@pytest.fixture
def namespace(defined: ControlPlane, unique: str) -> Iterator[str]:
    defined.request("POST", "/api/v1/namespaces", {"metadata": {"name": unique}})
    yield unique
    defined.request("DELETE", f"/api/v1/namespaces/{unique}")
