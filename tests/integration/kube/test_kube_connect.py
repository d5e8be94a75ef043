"""From a Cluster document to a connection: kubeconfigs of every kind, tokens that rotate, errors that keep secrets."""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from windlass.documents.types import Cluster, ClusterSpec, SecretRef
from windlass.secrets import Secrets
from workers.kube import connect as connecting
from workers.kube.connect import ConnectError, Connection, client_of, connect, read_connection

SERVER = "https://127.0.0.1:6443"


def written(folder: Path, user: dict[str, Any], **cluster: Any) -> Path:
    path = folder / "config"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "main",
        "clusters": [{"name": "c", "cluster": {"server": SERVER, **cluster}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "main", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


def cluster(path: Path, context: str | None = None) -> Cluster:
    return Cluster("prod", ClusterSpec(kubeconfig=str(path), context=context))


async def header(document: Cluster, *, fresh: bool = False) -> str | None:
    client = await connect(document, Secrets())
    assert client._authorize is not None
    return await client._authorize(fresh)


async def test_the_real_cluster_answers(kubeconfig: Path) -> None:
    client = await connect(cluster(kubeconfig), Secrets())
    assert (await client.request("GET", "/version")).json()["gitVersion"]
    await client.close()


async def test_the_library_is_not_left_in_this_process(kubeconfig: Path) -> None:
    await read_connection(cluster(kubeconfig))
    assert not [name for name in sys.modules if name.startswith("kubernetes_asyncio")]


async def test_a_token_and_where_it_goes(tmp_path: Path) -> None:
    path = written(tmp_path, {"token": "abc"}, **{"insecure-skip-tls-verify": True, "tls-server-name": "kube"})
    connection = await read_connection(cluster(path))
    assert (connection.server, connection.verify, connection.server_name) == (SERVER, False, "kube")
    assert await header(cluster(path)) == "Bearer abc"
    assert "abc" not in repr(connection)


async def test_a_user_and_a_password(tmp_path: Path) -> None:
    assert await header(cluster(written(tmp_path, {"username": "u", "password": "p"}))) == "Basic dTpw"


async def test_a_token_in_a_file_beside_the_kubeconfig_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one\n")
    client = await connect(cluster(written(tmp_path, {"tokenFile": "token"})), Secrets())
    assert client._authorize is not None
    assert await client._authorize(False) == "Bearer one"
    (tmp_path / "token").write_text("two\n")
    assert await client._authorize(False) == "Bearer one", "not at every request"
    assert await client._authorize(True) == "Bearer two", "at once when it was refused"


async def test_a_plugin_is_asked_again_when_its_token_is_about_to_expire(tmp_path: Path) -> None:
    counter, plugin = tmp_path / "runs", tmp_path / "plugin.py"
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=30)
    status = {"expirationTimestamp": soon.strftime("%Y-%m-%dT%H:%M:%SZ")}
    version = "client.authentication.k8s.io/v1"
    plugin.write_text(
        f"import json, pathlib\n"
        f"path = pathlib.Path({str(counter)!r})\n"
        f"runs = path.stat().st_size + 1 if path.exists() else 1\n"
        f"path.write_text('x' * runs)\n"
        f"status = {{**{status!r}, 'token': f't{{runs}}'}}\n"
        f"print(json.dumps({{'apiVersion': {version!r}, 'kind': 'ExecCredential', 'status': status}}))\n"
    )
    user = {"exec": {"apiVersion": version, "command": sys.executable, "args": [str(plugin)]}}
    client = await connect(cluster(written(tmp_path, user)), Secrets())
    assert client._authorize is not None
    assert await client._authorize(False) == "Bearer t2", "the first has less than a minute left"
    assert json.dumps(counter.read_text()) == '"xx"'


async def test_a_token_by_reference_follows_its_rotation(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one")
    client = await connect(Cluster("prod", ClusterSpec(server=SERVER, token=SecretRef(file=str(token)))), Secrets())
    assert client._authorize is not None
    assert await client._authorize(False) == "Bearer one"
    token.write_text("another")
    assert await client._authorize(True) == "Bearer another"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (ClusterSpec(kubeconfig="/not/there"), "kubeconfig /not/there: FileNotFoundError: no such file"),
        (ClusterSpec(in_cluster=True), "in-cluster configuration: ConfigException: Service host/port is not set"),
        (ClusterSpec(server=SERVER, ca_file="/not/there"), "caFile: No such file or directory: /not/there"),
    ],
)
async def test_what_cannot_be_read_is_an_error_that_names_it(
    document: ClusterSpec, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConnectError, match=message) as caught:
        await connect(Cluster("prod", document), Secrets())
    assert str(caught.value).startswith("cluster prod: ")


async def test_an_unknown_context_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="nowhere"):
        await connect(cluster(written(tmp_path, {"token": "canary"}), "nowhere"), Secrets())


async def test_a_broken_key_is_an_error_without_the_key(tmp_path: Path) -> None:
    broken = Connection(SERVER, certificate="no certificate", key="canary")
    with pytest.raises(ConnectError, match="a certificate or key can't be read") as caught:
        await client_of(broken, cluster(tmp_path), Secrets())
    assert "canary" not in repr((caught.value, caught.value.__cause__))


async def test_a_reader_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "READ_SECONDS", 0.5)
    version = "client.authentication.k8s.io/v1"
    user = {"exec": {"apiVersion": version, "command": "sleep", "args": ["5"]}}
    with pytest.raises(ConnectError, match="no credentials within"):
        await connect(cluster(written(tmp_path, user)), Secrets())
