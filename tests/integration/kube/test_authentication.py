"""Every way to authenticate, on the real API server, with tokens that it made itself; and what happens when they rotate."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
import yaml

from windlass.documents.types import Cluster, ClusterSpec, SecretRef
from windlass.errors import TransientError
from windlass.secrets import Secrets
from workers.cluster import Clusters
from workers.kube import connect as connecting
from workers.kube.connect import Connection, connect
from workers.kube.errors import ApiError
from workers.kube.transport import KubeClient

from .conftest import Harness

VERSION = "client.authentication.k8s.io/v1"
WRONG = "eyJhbGciOiJSUzI1NiJ9.canary.canary"

Opened = Callable[[Cluster], Awaitable[KubeClient]]


@pytest.fixture
async def token(kube: Harness) -> str:
    """A token of the ServiceAccount ``windlass`` of the test's namespace."""
    place = f"/api/v1/namespaces/{kube.namespace}/serviceaccounts"
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "windlass"}}
    await kube.client.request("POST", place, body=orjson.dumps(account))
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    answer = await kube.client.request("POST", f"{place}/windlass/token", body=orjson.dumps(request))
    found: str = answer.json()["status"]["token"]
    return found


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    """`connect`, and the end of it."""
    clients: list[KubeClient] = []

    async def open_one(document: Cluster) -> KubeClient:
        clients.append(await connect(document, Secrets()))
        return clients[-1]

    yield open_one
    for client in clients:
        await client.close()


async def account(client: KubeClient) -> str:
    """Who the API server says we are: what it refuses, it refuses by name."""
    with pytest.raises(ApiError) as caught:
        await client.request("GET", "/api/v1/namespaces/kube-system/secrets")
    assert caught.value.status in (401, 403), caught.value
    return "nobody" if caught.value.status == 401 else str(caught.value).partition('User "')[2].partition('"')[0]


def expected(kube: Harness) -> str:
    return f"system:serviceaccount:{kube.namespace}:windlass"


def kubeconfig(folder: Path, connection: Connection, user: dict[str, Any]) -> Cluster:
    """A kubeconfig of the real API server with this user."""
    (folder / "ca.crt").write_text(connection.ca or "")
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "main",
        "clusters": [{"name": "c", "cluster": {"server": connection.server, "certificate-authority": "ca.crt"}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "main", "context": {"cluster": "c", "user": "u"}}],
    }
    (folder / "config").write_text(yaml.safe_dump(document))
    return Cluster("prod", ClusterSpec(kubeconfig=str(folder / "config")))


class Plugin:
    """An exec plugin: a program that prints what is in a file as an ExecCredential, and keeps what it was run with."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.token = folder, folder / "plugin-token"
        program = folder / "plugin"
        program.write_text(
            f"#!{sys.executable}\n"
            "import json, os, pathlib, sys, time\n"
            "folder = pathlib.Path(__file__).parent\n"
            "runs = folder / 'runs'\n"
            "runs.write_text((runs.read_text() if runs.exists() else '') + json.dumps(dict(os.environ)) + '\\n')\n"
            "answer = json.loads((folder / 'plugin-token').read_text())\n"
            "time.sleep(answer.pop('seconds', 0))\n"
            "sys.stderr.write(answer.pop('complaint', ''))\n"
            f"print(json.dumps({{'apiVersion': {VERSION!r}, 'kind': 'ExecCredential', 'status': answer}}))\n"
            "sys.exit(0 if answer else 3)\n"
        )
        program.chmod(0o755)

    def gives(self, token: str = "", *, lifetime: float | None = None, **more: Any) -> None:
        status = {"token": token} if token else {}
        if lifetime is not None:
            status["expirationTimestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + lifetime))
        self.token.write_text(json.dumps({**status, **more}))

    @property
    def runs(self) -> list[dict[str, str]]:
        """The environment of each run."""
        file = self.folder / "runs"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def user(self, **more: Any) -> dict[str, Any]:
        """Named by a path relative to the kubeconfig's folder, as kubectl takes it."""
        return {"exec": {"apiVersion": VERSION, "command": "./plugin", "interactiveMode": "Never", **more}}


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    return Plugin(tmp_path)


async def test_a_plugins_token_is_used_until_it_expires(
    kube: Harness, tmp_path: Path, connection: Connection, token: str, plugin: Plugin, opened: Opened
) -> None:
    plugin.gives(token, lifetime=600)
    client = await opened(kubeconfig(tmp_path, connection, plugin.user()))
    assert [await account(client) for _ in range(3)] == [expected(kube)] * 3
    assert len(plugin.runs) == 1


async def test_a_plugin_is_run_again_once_for_all_when_its_token_is_refused(
    kube: Harness, tmp_path: Path, connection: Connection, token: str, plugin: Plugin, opened: Opened
) -> None:
    plugin.gives(WRONG, lifetime=600)
    client = await opened(kubeconfig(tmp_path, connection, plugin.user()))
    plugin.gives(token, lifetime=600)
    assert set(await asyncio.gather(*(account(client) for _ in range(10)))) == {expected(kube)}
    assert len(plugin.runs) == 2


async def test_a_token_that_stays_refused_is_an_error_and_no_loop(
    tmp_path: Path, connection: Connection, plugin: Plugin, opened: Opened
) -> None:
    plugin.gives(WRONG)
    client = await opened(kubeconfig(tmp_path, connection, plugin.user()))
    for _ in range(3):
        with pytest.raises(ApiError) as caught:
            await client.request("GET", "/api/v1/namespaces")
        assert caught.value.status == 401
        assert "canary" not in str(caught.value)
    assert len(plugin.runs) == 2


async def test_a_plugin_knows_what_it_needs_and_none_of_our_secrets(
    kube: Harness,
    tmp_path: Path,
    connection: Connection,
    token: str,
    plugin: Plugin,
    opened: Opened,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("WINDLASS_KEY", "REDIS_URL", "SHOP_GIT_TOKEN", "AWS_PROFILE"):
        monkeypatch.setenv(name, "canary")
    plugin.gives(token)
    user = plugin.user(env=[{"name": "REGION", "value": "eu"}])
    assert await account(await opened(kubeconfig(tmp_path, connection, user))) == expected(kube)
    (environment,) = plugin.runs
    assert {"PATH", "REGION", "AWS_PROFILE", "KUBERNETES_EXEC_INFO"} <= environment.keys()
    assert not environment.keys() & {"WINDLASS_KEY", "REDIS_URL", "SHOP_GIT_TOKEN"}


async def test_a_plugin_that_fails_is_an_error_that_says_so(
    tmp_path: Path, connection: Connection, plugin: Plugin, opened: Opened
) -> None:
    plugin.gives(complaint="no session: log in first")
    with pytest.raises(TransientError, match=r"cluster prod: .*exec: process returned 3. no session: log in first"):
        await opened(kubeconfig(tmp_path, connection, plugin.user()))


async def test_a_plugin_that_hangs_holds_up_only_who_needs_its_token(
    kube: Harness,
    tmp_path: Path,
    connection: Connection,
    token: str,
    plugin: Plugin,
    opened: Opened,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connecting, "PATIENCE_SECONDS", 0.5)
    plugin.gives(token, lifetime=30)  # valid, but to be renewed
    client = await opened(kubeconfig(tmp_path, connection, plugin.user()))
    plugin.gives(token, lifetime=600, seconds=30)
    started = time.monotonic()
    assert await asyncio.gather(*(account(client) for _ in range(5))) == [expected(kube)] * 5
    assert time.monotonic() - started < 20
    assert len(plugin.runs) <= 2


@pytest.fixture
def in_cluster(tmp_path: Path, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pod's folder with its token and its cluster's authority."""
    address = urlsplit(connection.server)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(address.hostname))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(address.port))
    monkeypatch.setattr(connecting, "SERVICE_ACCOUNT", tmp_path)
    (tmp_path / "ca.crt").write_text(connection.ca or "")
    return tmp_path / "token"


async def test_a_pods_token_is_read_again_when_it_was_rotated(
    kube: Harness, in_cluster: Path, token: str, opened: Opened
) -> None:
    in_cluster.write_text(WRONG)
    client = await opened(Cluster("here", ClusterSpec(in_cluster=True)))
    assert await account(client) == "nobody"
    in_cluster.write_text(token)
    assert await account(client) == expected(kube)
    in_cluster.unlink()
    assert await account(client) == expected(kube), "a file is not read at every request"


async def test_a_token_that_cannot_be_read_is_an_error_that_names_the_file(
    in_cluster: Path, token: str, opened: Opened
) -> None:
    in_cluster.write_text(token)
    client = await opened(Cluster("here", ClusterSpec(in_cluster=True)))
    in_cluster.unlink()
    with pytest.raises(TransientError, match=f"cluster here: the token can't be read: .*{in_cluster}"):
        await client.request("GET", "/version")


async def test_a_token_by_reference_is_read_again_when_it_is_refused(
    kube: Harness, tmp_path: Path, connection: Connection, token: str, opened: Opened
) -> None:
    secret, ca = tmp_path / "secret", tmp_path / "ca.crt"
    secret.write_text(WRONG)
    ca.write_text(connection.ca or "")
    spec = ClusterSpec(server=connection.server, token=SecretRef(file=str(secret)), ca_file=str(ca))
    client = await opened(Cluster("prod", spec))
    assert await account(client) == "nobody"
    secret.write_text(token)
    assert await account(client) == expected(kube)


async def test_a_token_in_a_kubeconfig_is_read_again_when_it_is_refused(
    kube: Harness, tmp_path: Path, connection: Connection, token: str, opened: Opened
) -> None:
    client = await opened(kubeconfig(tmp_path, connection, {"token": WRONG}))
    kubeconfig(tmp_path, connection, {"token": token})
    assert await account(client) == expected(kube)


async def test_a_kubeconfig_that_changed_is_a_new_connection(
    kube: Harness, tmp_path: Path, connection: Connection, token: str
) -> None:
    """So are its certificate and its server's address: what no request could learn of."""
    clusters = Clusters(Secrets())
    document = kubeconfig(tmp_path, connection, {"token": WRONG})
    first = await clusters.get(document)
    assert await clusters.get(document) is first
    assert kubeconfig(tmp_path, connection, {"token": token}) == document
    second = await clusters.get(document)
    assert second is not first
    assert await account(second.client) == expected(kube)
    await clusters.close()


async def test_a_kubeconfig_that_hangs_holds_up_no_other_cluster(
    kube: Harness, tmp_path: Path, connection: Connection, token: str, plugin: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.cluster.CONNECT_SECONDS", 4.0)
    plugin.gives(token, seconds=60)
    slow = kubeconfig(tmp_path, connection, plugin.user())
    quick = Cluster("quick", ClusterSpec(kubeconfig=os.fspath(tmp_path / "quick" / "config")))
    (tmp_path / "quick").mkdir()
    kubeconfig(tmp_path / "quick", connection, {"token": token})
    clusters = Clusters(Secrets())
    waiting = [asyncio.create_task(clusters.get(slow)) for _ in range(3)]
    assert await account((await clusters.get(quick)).client) == expected(kube)
    errors = await asyncio.gather(*waiting, return_exceptions=True)
    assert {str(error) for error in errors} == {"cluster prod: no answer within 4 s"}
    with pytest.raises(TransientError, match="no answer within 4 s"):
        await asyncio.wait_for(clusters.get(slow), 3)  # it is known by now
    await clusters.close()
    assert len(plugin.runs) <= 1
