"""The Secrets that custom resources name, from the real API server, by a client that every process can have."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.parts.control_plane import ControlPlane
from windlass import feed
from windlass.documents.base import SecretKey, SecretRef
from windlass.errors import TransientError, WindlassError
from windlass.feed import ClusterSecrets
from windlass.home import Home, from_kubeconfig
from windlass.secrets import Secrets

pytestmark = pytest.mark.integration

CANARY = "canary-of-a-secret"


@pytest.fixture
async def secrets(control_plane: ControlPlane) -> AsyncIterator[ClusterSecrets]:
    made = ClusterSecrets(Home(str(control_plane.kubeconfig)))
    yield made
    await made.close()


def keep(plane: ControlPlane, namespace: str, method: str = "POST", **data: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/secrets"
    body = {"metadata": {"name": "git"}, "stringData": data}
    plane.request(method, path if method == "POST" else f"{path}/git", body)


async def test_a_key_of_a_secret_is_read_and_no_other(
    secrets: ClusterSecrets, control_plane: ControlPlane, namespace: str
) -> None:
    keep(control_plane, namespace, token=f"{CANARY}\n", other="not asked for")
    ref = SecretKey("git", "token", namespace)
    with pytest.raises(TransientError, match="not read yet"):
        secrets.resolve(ref)
    await secrets.want([ref])
    assert Secrets(secrets).resolve(SecretRef(secret=ref)) == CANARY.encode()
    assert secrets.resolve(SecretKey("git", "other", namespace)) == b""
    assert "not asked for" not in repr(vars(secrets))


async def test_a_rotated_secret_is_read_again(
    secrets: ClusterSecrets, control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "AGAIN_SECONDS", 0.0)
    keep(control_plane, namespace, token="first")
    ref = SecretKey("git", "token", namespace)
    await secrets.want([ref])
    keep(control_plane, namespace, "PUT", token="second")
    await secrets.refresh()
    assert secrets.resolve(ref) == b"second"


async def test_what_is_not_there_is_said_and_what_is_not_wanted_any_more_is_forgotten(
    secrets: ClusterSecrets, control_plane: ControlPlane, namespace: str
) -> None:
    keep(control_plane, namespace, token=CANARY)
    there, absent = SecretKey("git", "token", namespace), SecretKey("none", "token", namespace)
    await secrets.want([there, absent])
    assert secrets.missing([there, absent]) == f"the Secret {namespace}/none does not exist"
    assert secrets.missing([SecretKey("git", "key", namespace)]) == (
        f"the Secret {namespace}/git has no key key, or it is empty"
    )
    await secrets.want([absent])
    assert CANARY not in repr(vars(secrets))


async def test_a_process_that_follows_no_resources_reads_none(namespace: str) -> None:
    with pytest.raises(TransientError, match="follows no custom resources"):
        Secrets().resolve(SecretRef(secret=SecretKey("git", "token", namespace)))


async def test_a_server_that_is_away_leaves_what_was_read(
    secrets: ClusterSecrets,
    control_plane: ControlPlane,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed, "AGAIN_SECONDS", 0.0)
    keep(control_plane, namespace, token=CANARY)
    ref = SecretKey("git", "token", namespace)
    await secrets.want([ref])
    away = tmp_path / "away"
    away.write_text(control_plane.kubeconfig.read_text().replace(str(control_plane.port), "1"))
    other = Home(str(away))
    monkeypatch.setattr(secrets, "_home", other)
    await secrets.refresh()
    assert secrets.resolve(ref) == CANARY.encode()
    await other.close()


async def test_a_refusal_says_which_secret_and_no_token(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    file = written(control_plane, tmp_path, {"token": "a-token-that-is-not-one"})
    home = Home(str(file))
    with pytest.raises(TransientError) as caught:
        await home.secret(namespace, "git")
    assert str(caught.value) == f"the Secret {namespace}/git can't be read: the API server answered 401"
    await home.close()


def written(plane: ControlPlane, folder: Path, user: dict[str, Any]) -> Path:
    ca = base64.b64encode((plane.folder / "ca.crt").read_bytes()).decode()
    content = {
        "clusters": [{"name": "c", "cluster": {"server": plane.server, "certificate-authority-data": ca}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(content))
    return folder / "kubeconfig"


async def test_a_kubeconfig_that_asks_for_a_plugin_is_refused(control_plane: ControlPlane, tmp_path: Path) -> None:
    file = written(control_plane, tmp_path, {"exec": {"command": "sh"}})
    with pytest.raises(WindlassError, match="plugins are not run here"):
        from_kubeconfig(file)
    file.write_text("clusters: 7")
    with pytest.raises(WindlassError, match="not a kubeconfig"):
        from_kubeconfig(file)
    with pytest.raises(WindlassError, match="No such file"):
        from_kubeconfig(tmp_path / "none")


async def test_a_process_outside_of_any_cluster_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(WindlassError, match="custom resources"):
        await Home("").secret("a", "b")
