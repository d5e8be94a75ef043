"""Push mode without a document: a folder is planned, applied and followed, and owned as always."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.parts import build
from tests.parts.cluster import Cluster
from windlass.documents.types import Cluster as Document
from windlass.documents.types import ClusterSpec
from windlass.secrets import Secrets
from workers.kube.connect import connect

pytestmark = pytest.mark.e2e

WEB = """# the shop's web server
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - {name: web, image: "registry.example/shop/web:1.0.0", resources: {requests: {cpu: "1"}}}
"""
NEW = "registry.example/shop/web:1.1.0"


def config(name: str, value: str = "1") -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  value: {json.dumps(value)}\n"


class Folder:
    """A folder of manifests, a namespace, and the command: as CI has them, without documents and without a Redis."""

    def __init__(self, folder: Path, namespace: str, kubeconfig: Path) -> None:
        self.path, self.namespace, self.home = folder / "manifests", namespace, folder
        self.cluster = Cluster(folder, str(kubeconfig), nodes=0)
        asyncio.run(_namespace(kubeconfig, namespace))
        kept = {key: value for key, value in os.environ.items() if key != "REDIS_URL" and key[:9] != "WINDLASS_"}
        programs = [str(build.binary(name).parent) for name in ("kustomize", "helm")]
        self.environment = {
            **kept,
            "KUBECONFIG": str(kubeconfig),
            "WINDLASS_DATA": str(folder / "data"),
            "PATH": ":".join((*programs, os.environ["PATH"])),
        }

    def write(self, **files: str) -> None:
        for name, text in files.items():
            place = self.home / name.replace("__", "/").replace("_yaml", ".yaml")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)

    def deploy(self, *more: str, path: str = "manifests", name: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "windlass.cli",
            "deploy",
            "--path",
            str(self.home / path),
            "--name",
            name or self.namespace,
        ]
        return subprocess.run(
            [*command, "--namespace", self.namespace, *more],
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def names(self) -> list[str]:
        found = self.cluster.get(f"/api/v1/namespaces/{self.namespace}/configmaps")
        assert found is not None
        return sorted(
            item["metadata"]["name"] for item in found["items"] if item["metadata"]["name"] != "kube-root-ca.crt"
        )

    def image(self) -> str:
        found = self.cluster.get(f"/apis/apps/v1/namespaces/{self.namespace}/deployments/web")
        return str(found["spec"]["template"]["spec"]["containers"][0]["image"]) if found else ""


async def _namespace(kubeconfig: Path, name: str) -> None:
    client = await connect(Document("tests", ClusterSpec(kubeconfig=str(kubeconfig))), Secrets())
    await client.request("POST", "/api/v1/namespaces", body=json.dumps({"metadata": {"name": name}}).encode())
    await client.close()


@pytest.fixture
def folder(tmp_path: Path, unique: str, kubeconfig: Path) -> Folder:
    return Folder(tmp_path, unique, kubeconfig)


def done(result: subprocess.CompletedProcess[str]) -> Any:
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads(result.stdout)


def test_a_folder_is_planned_applied_and_followed_and_what_left_it_is_deleted(folder: Folder) -> None:
    folder.write(manifests__web_yaml=WEB, manifests__a_yaml=config("a"), manifests__b_yaml=config("b"))
    planned = folder.deploy("--image", NEW, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert f"+      - image: {NEW}" in planned.stdout
    assert (folder.image(), folder.names()) == ("", []), "nothing is written"
    assert done(folder.deploy("--image", NEW, "-o", "json"))["result"] == "Healthy"
    assert (folder.image(), folder.names()) == (NEW, ["a", "b"])
    (folder.path / "b.yaml").unlink()
    again = done(folder.deploy("--image", NEW, "-o", "json"))
    assert [(one["object"], one["status"]) for one in again["changes"]] == [
        (f"ConfigMap/{folder.namespace}/b", "pruned")
    ]
    assert folder.names() == ["a"]


def test_a_rollout_that_fails_says_why_and_exits_non_zero(folder: Folder) -> None:
    folder.write(manifests__web_yaml=WEB.replace('cpu: "1"', 'cpu: "1000"'))
    failed = folder.deploy("--timeout", "3s")
    assert failed.returncode == 1
    assert "Deployment.apps" in failed.stderr
    assert "Degraded" in failed.stderr


def test_a_kustomization_may_build_upon_its_work_tree(folder: Folder) -> None:
    folder.write(
        base__kustomization_yaml="resources: [web.yaml]\n",
        base__web_yaml=WEB,
        prod__kustomization_yaml="resources: [../base]\nimages: [{name: registry.example/shop/web, newTag: 2.0.0}]\n",
    )
    refused = folder.deploy(path="prod")
    assert (refused.returncode, "leads out of" in refused.stderr or "base" in refused.stderr) == (1, True), (
        refused.stderr
    )
    subprocess.run(["git", "init", "-q", str(folder.home)], check=True)
    assert done(folder.deploy("-o", "json", path="prod"))["result"] == "Healthy"
    assert folder.image() == "registry.example/shop/web:2.0.0"


def test_a_chart_is_released_by_the_name_that_was_given(folder: Folder) -> None:
    folder.write(
        manifests__Chart_yaml="apiVersion: v2\nname: web\nversion: 1.0.0\n",
        manifests__templates__a_yaml="apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-a\n",
    )
    assert done(folder.deploy("-o", "json", name="shop"))["result"] == "Healthy"
    assert folder.names() == ["shop-a"]


def test_each_name_owns_its_own(folder: Folder) -> None:
    folder.write(manifests__a_yaml=config("a"))
    done(folder.deploy("-o", "json", name=f"{folder.namespace}-one"))
    other = folder.deploy(name=f"{folder.namespace}-two")
    assert other.returncode == 1
    assert f"deploy.{folder.namespace}-one" in other.stderr + other.stdout, "it says whose it is"
    (folder.path / "a.yaml").rename(folder.path / "b.yaml")
    folder.write(manifests__b_yaml=config("b"))
    done(folder.deploy("-o", "json", name=f"{folder.namespace}-two"))
    assert folder.names() == ["a", "b"], "nobody deletes what is another's"


def test_an_empty_folder_deletes_nothing(folder: Folder) -> None:
    folder.write(manifests__a_yaml=config("a"))
    done(folder.deploy("-o", "json"))
    (folder.path / "a.yaml").unlink()
    refused = folder.deploy()
    assert (refused.returncode, "has no objects" in refused.stderr) == (1, True)
    assert folder.names() == ["a"]


def test_no_link_is_followed(folder: Folder) -> None:
    folder.write(manifests__a_yaml=config("a"), secret_yaml=config("secret"))
    (folder.path / "link.yaml").symlink_to(folder.home / "secret.yaml")
    refused = folder.deploy()
    assert (refused.returncode, "symbolic link" in refused.stderr) == (1, True), refused.stderr
    assert folder.names() == []
