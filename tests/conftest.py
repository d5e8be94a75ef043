"""The real parts, one of each for a whole run; every test has a namespace, a repository and a database of its own."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, settings

from tests.parts.control_plane import ControlPlane
from tests.parts.git_http import GitHttp
from tests.parts.gitea import Gitea
from tests.parts.redis_server import RedisServer
from tests.parts.resources import define

# The same examples at every run, however busy the machine: a failure is news, and happens again.
settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


@pytest.fixture(scope="session")
def parts_folder() -> Iterator[Path]:
    """A folder of the run. Not pytest's own: the forge's user must be able to enter it."""
    with tempfile.TemporaryDirectory(prefix="windlass-parts-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def redis_server(parts_folder: Path) -> Iterator[RedisServer]:
    with RedisServer(parts_folder) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """An empty Redis."""
    with redis.Redis.from_url(redis_server.url) as connection:
        connection.flushall()
    return redis_server.url


@pytest.fixture(scope="session")
def control_plane(parts_folder: Path) -> Iterator[ControlPlane]:
    """A control plane with nodes on which pods become ready."""
    with ControlPlane(parts_folder / "control-plane", nodes=2) as plane:
        yield plane


@pytest.fixture(scope="session")
def defined(control_plane: ControlPlane) -> ControlPlane:
    """The control plane, with Windlass' custom resources."""
    define(control_plane)
    return control_plane


@pytest.fixture(scope="session")
def kubeconfig(request: pytest.FixtureRequest) -> Path:
    """The cluster to test on: WINDLASS_TEST_KUBECONFIG's, else a control plane of our own."""
    if path := os.environ.get("WINDLASS_TEST_KUBECONFIG"):
        return Path(path)
    plane: ControlPlane = request.getfixturevalue("control_plane")
    return plane.kubeconfig


@pytest.fixture(scope="session")
def gitea(parts_folder: Path) -> Iterator[Gitea]:
    with Gitea(parts_folder / "gitea") as forge:
        yield forge


@pytest.fixture
def git_http(tmp_path: Path) -> Iterator[GitHttp]:
    with GitHttp(tmp_path / "git") as server:
        yield server


@pytest.fixture
def unique() -> str:
    """A name that nobody else has: for namespaces, repositories, applications."""
    return f"t{uuid.uuid4().hex[:10]}"
