"""What Argo CD and Flux were told, imported and really reconciled: what `kustomize build` and `helm template` give."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from tests.parts.build import binary
from tests.parts.git_http import GitHttp
from tests.parts.redis_server import RedisServer
from tests.parts.waiting import until
from tests.parts.windlass import Windlass
from windlass.documents.types import Cluster as Document
from windlass.documents.types import ClusterSpec
from windlass.secrets import Secrets
from workers.kube.connect import connect

pytestmark = pytest.mark.e2e

DATA = Path(__file__).parents[1] / "data/import"
PLACES = ("guestbook", "kustomize", "helm", "several", "jsonnet", "addons", "webapp", "podinfo")
KINDS = {"Deployment": "apis/apps/v1", "Service": "api/v1", "ConfigMap": "api/v1"}
Objects = dict[tuple[str, str], dict[str, Any]]
"""By kind and name."""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


class Migrated:
    """One repository and one chart, the documents of Argo CD and Flux that name them, and the Windlass that took them over."""

    def __init__(self, folder: Path, name: str, kubeconfig: Path) -> None:
        self.folder, self.name, self.kubeconfig = folder, name, kubeconfig
        self.redis, self.git = RedisServer(folder), GitHttp(folder / "git")
        self.url = self.git.create("apps")
        self.work = self.git.work_tree("apps", folder / "work")
        self.chart, charts = DATA / "chart", folder / "charts"
        self.charts = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(charts)))
        self.charts_url = f"http://127.0.0.1:{self.charts.server_address[1]}"
        program("helm", "package", str(self.chart), "-d", str(charts), home=folder)
        program("helm", "repo", "index", str(charts), home=folder)
        path = os.pathsep.join([*(str(binary(one).parent) for one in ("helm", "kustomize")), os.environ["PATH"]])
        self.windlass = Windlass(folder / "windlass", self.redis.url, PATH=path, WINDLASS_CHARTS=self.charts_url)
        self.said = ""

    def start(self) -> None:
        for server in (self.charts, self.git._server):
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.work.commit_and_push(
            {
                str(path.relative_to(DATA / "git")): path.read_bytes()
                for path in (DATA / "git").rglob("*")
                if path.is_file()
            }
        )
        self.redis.start()
        asyncio.run(self._namespaces())
        given = self.folder / "given"
        for file in (*DATA.glob("argo/*.yaml"), *DATA.glob("flux/*.yaml")):
            text = file.read_text().replace("GIT", self.url).replace("CHARTS", self.charts_url)
            (given / file.parent.name).mkdir(parents=True, exist_ok=True)
            (given / file.parent.name / file.name).write_text(text.replace("NAMESPACE", self.name))
        options = ["--to", str(self.windlass.documents), "--fetch", "--kubeconfig", str(self.kubeconfig)]
        done = self.windlass.run("import", str(given), *options, "--strict")
        self.said = done.stderr
        assert done.returncode == 0, done.stderr
        checked = self.windlass.run("check", str(self.windlass.documents))
        assert checked.returncode == 0, checked.stdout
        self.windlass.start()

    async def _namespaces(self) -> None:
        client = await connect(Document("demo", ClusterSpec(kubeconfig=str(self.kubeconfig))), Secrets())
        try:
            for place in PLACES:
                body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{self.name}-{place}"}}
                await client.request("POST", "/api/v1/namespaces", body=orjson.dumps(body))
        finally:
            await client.close()

    def stop(self) -> None:
        self.windlass.stop()
        self.git.__exit__()
        self.charts.shutdown()
        self.charts.server_close()
        self.redis.stop()

    def found(self, place: str) -> Objects:
        """What is in a namespace, of the kinds that the manifests have."""
        return asyncio.run(self._found(f"{self.name}-{place}"))

    async def _found(self, namespace: str) -> Objects:
        found: Objects = {}
        client = await connect(Document("demo", ClusterSpec(kubeconfig=str(self.kubeconfig))), Secrets())
        try:
            for kind, api in KINDS.items():
                answer = (await client.request("GET", f"/{api}/namespaces/{namespace}/{kind.lower()}s")).json()
                found |= {(kind, one["metadata"]["name"]): one for one in answer["items"]}
        finally:
            await client.close()
        found.pop(("ConfigMap", "kube-root-ca.crt"), None)
        return found

    def built(self, folder: Path) -> Objects:
        return objects(program("kustomize", "build", str(folder), home=self.folder))

    def templated(self, release: str, place: str, chart: Path, *options: str) -> Objects:
        command = ["template", release, str(chart), "--namespace", f"{self.name}-{place}", *options]
        return objects(program("helm", *command, home=self.folder))

    def overlay(self, base: str, **kustomization: Any) -> Path:
        """A kustomization beside the work tree, over one of its folders."""
        folder = self.folder / f"overlay-{base.replace('/', '-')}"
        folder.mkdir()
        content = {"resources": [f"../work/{base}"], **kustomization}
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
        return folder


def program(name: str, *arguments: str, home: Path) -> str:
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    done = subprocess.run([binary(name), *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(text: str) -> Objects:
    """Without what an item of a list doesn't repeat."""
    found = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(text) if one}
    return {key: {k: v for k, v in one.items() if k not in ("apiVersion", "kind")} for key, one in found.items()}


def holds(live: Any, wanted: Any) -> bool:
    """Is all that is wanted there? The API server adds defaults."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(holds(live.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(live, list) and len(live) == len(wanted) and all(map(holds, live, wanted))
    return bool(live == wanted) or (wanted == {} and live is None)


@pytest.fixture(scope="module")
def migrated(parts_folder: Path, kubeconfig: Path) -> Iterator[Migrated]:
    name = f"i{os.urandom(4).hex()}"
    folder = parts_folder / name
    folder.mkdir()
    made = Migrated(folder, name, kubeconfig)
    with contextlib.ExitStack() as stack:
        stack.callback(made.stop)
        made.start()
        yield made


def same(migrated: Migrated, place: str, wanted: Objects) -> Objects:
    """Wait until a namespace has exactly the objects that are wanted, and all that is wanted of each; what is there."""
    live: Objects = {}

    def equal() -> bool:
        live.clear()
        live.update(migrated.found(place))
        return set(live) == set(wanted) and all(holds(live[key], one) for key, one in wanted.items())

    assert wanted
    until(equal, show=lambda: f"{live}\n{wanted}\n{migrated.windlass.log('worker')[-4000:]}")
    return live


def test_argo_cd_a_folder_of_manifests(migrated: Migrated) -> None:
    folder = migrated.work.path / "guestbook"
    same(migrated, "guestbook", objects("---\n".join(path.read_text() for path in folder.iterdir())))


def test_argo_cd_a_kustomization_with_options(migrated: Migrated) -> None:
    """As Argo CD does it: `kustomize edit` of the folder's own file, then build."""
    folder = migrated.folder / "edited"
    shutil.copytree(migrated.work.path / "kustomize-guestbook", folder)
    wanted = migrated.built(folder)
    deployment = wanted["Deployment", "kustomize-guestbook-ui"]
    deployment["spec"]["replicas"] = 4
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container |= {"image": "registry.example.com/mirror/guestbook:v6", "env": [{"name": "STAGE", "value": "prod"}]}
    for one in wanted.values():
        one["metadata"]["annotations"] = {"on-call": "guests"}
        one["metadata"]["name"] = f"prod-{one['metadata']['name']}"
    same(migrated, "kustomize", {(kind, f"prod-{name}"): one for (kind, name), one in wanted.items()})


def test_argo_cd_a_chart_with_files_values_and_parameters(migrated: Migrated) -> None:
    chart = migrated.work.path / "helm-guestbook"
    options = ["-f", str(chart / "values-production.yaml"), "--set", "image.tag=v6", "--set", "service.port=8080"]
    options += ["--set-string", r"service.annotations.example\.com/tls=true", "--set", "greetings={good,morning}"]
    same(migrated, "helm", migrated.templated("guests", "helm", chart, *options))


def test_argo_cd_a_chart_of_a_helm_repository_with_values_of_a_git_repository(migrated: Migrated) -> None:
    options = ["-f", str(migrated.work.path / "charts/values/guestbook.yaml"), "--set", "image.tag=v7"]
    same(migrated, "several", migrated.templated("several", "several", migrated.chart, *options))


def test_argo_cd_jsonnet(migrated: Migrated) -> None:
    data = {"greeting": "moin", "region": "eu", "size": "3"}
    same(migrated, "jsonnet", {("ConfigMap", "jsonnet-guestbook"): {"data": data}})


def test_argo_cd_a_set_of_each_directory(migrated: Migrated) -> None:
    wanted = {("ConfigMap", name): {"data": {"addon": name}} for name in ("cache", "queue")}
    same(migrated, "addons", wanted)


def test_flux_a_kustomization(migrated: Migrated) -> None:
    folder = migrated.overlay(
        "deploy/webapp",
        namespace=f"{migrated.name}-webapp",
        images=[{"name": "registry.example.com/guestbook", "newTag": "v2"}],
        replicas=[{"name": "webapp", "count": 2}],
    )
    wanted = migrated.built(folder)
    for one in wanted.values():
        one["metadata"]["annotations"] = {"team": "web"}
    template = same(migrated, "webapp", wanted)["Deployment", "webapp"]["spec"]["template"]
    assert "annotations" not in template["metadata"]


def test_flux_a_release(migrated: Migrated) -> None:
    options = ["--set", "replicaCount=2", "--set", "greetings={from,flux}"]
    same(migrated, "podinfo", migrated.templated("podinfo", "podinfo", migrated.chart, *options))


def test_what_is_done_in_another_way_is_said(migrated: Migrated) -> None:
    assert "Application guestbook: metadata.finalizers" in migrated.said
    assert "ApplicationSet addons: spec.generators[0].git: resolved now" in migrated.said
    assert "lost:" not in migrated.said
