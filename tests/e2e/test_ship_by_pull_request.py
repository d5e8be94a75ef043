"""`windlass ship` by pull request: a real forge, a real builder, and a real registry that asks for a password and tells itself of
what it was given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.parts import builder
from tests.parts.cluster import Cluster
from tests.parts.git import WorkTree
from tests.parts.gitea import ADMIN, Gitea
from tests.parts.redis_server import RedisServer
from tests.parts.registry import PASSWORD, Registry, auth_file, with_password
from tests.parts.waiting import until
from tests.parts.windlass import API_VERSION, Windlass, application, cluster, repository

pytestmark = pytest.mark.e2e

TOKEN, WORD = "what CI says to be believed", "what the registry says to be believed"
DOCKERFILE = "FROM scratch\nCOPY site /site\n"
DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers: [{{name: web, image: "{image}:1.0.0"}}]
"""


class Shop:
    """The code in a clone, its manifests on a forge, and an application that follows them."""

    def __init__(self, folder: Path, name: str, forge: Gitea, kubeconfig: Path, redis: RedisServer) -> None:
        self.name, self.forge = name, forge
        self.cluster = Cluster(folder, str(kubeconfig), nodes=0)
        self.windlass = Windlass(
            folder / "windlass", redis.url, FORGE=forge.token, CI=TOKEN, REGISTRY=WORD,
            WINDLASS_IMAGE_TOKEN=TOKEN, **builder.environment(folder / "builder"),
        )  # fmt: skip
        told = (f"{self.windlass.url}/registries/hub", f"Bearer {WORD}")
        self.registry = Registry(folder / "registry", auth=with_password(folder / "registry"), tells=told)
        self.image = f"{self.registry.host}/{name}/web"
        self.windlass.environment |= {
            "WINDLASS_SERVICE": self.windlass.url,
            "REGISTRY_AUTH_FILE": str(auth_file(folder / "login", self.registry.host)),
        }
        self.code = WorkTree(folder / "code", "https://git.example/shop/web.git")
        remote = forge.create_repository(name)
        WorkTree(folder / "manifests", remote.push_url).commit_and_push(
            {
                "live/namespace.yaml": f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n",
                "live/web.yaml": DEPLOYMENT.format(image=self.image),
            }
        )
        token = {"token": {"env": "FORGE"}}
        self.windlass.write(
            repository(name, remote.clone_url, credentials=token, status=token, pullRequests=token),
            cluster("local", kubeconfig),
            application(name, repository=name, path="live", namespace=name),
            document("Registry", "ci", type="ci", images=[self.image], secrets=[{"env": "CI"}]),
            document("Registry", "hub", type="distribution", images=[self.image], secrets=[{"env": "REGISTRY"}]),
            document(
                "Promotion",
                "web",
                image=self.image,
                policy={"order": "semver", "range": ">=1.0.0"},
                target={"repository": name, "path": "live"},
                pullRequest={"title": "web {{tag}}"},
            ),
        )

    def start(self) -> None:
        self.registry.start()
        self.windlass.start()
        self.forge.create_webhook(self.name, f"{self.windlass.url}/webhooks/{self.name}", self.windlass.secret)
        until(lambda: self.running(), show=self.windlass.log)

    def stop(self) -> None:
        self.windlass.stop()
        self.registry.stop()

    def command(self, name: str, tag: str, *more: str) -> CompletedProcess[str]:
        """`windlass build` or `windlass ship` of a commit of its own."""
        self.code.commit({"Dockerfile": DOCKERFILE, "site/index.html": f"{tag}\n"}, f"Version {tag}")
        wished = ("--path", str(self.code.path), "--image", self.image, "--tag", tag, "--insecure")
        return self.windlass.run(name, *wished, *more)

    def titles(self) -> list[str]:
        return [pull["title"] for pull in self.pulls()]

    def pulls(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.forge.api("GET", f"/repos/{ADMIN}/{self.name}/pulls?state=open")
        return found

    def running(self) -> str:
        """The image that the cluster has; "" if nothing is there."""
        found = self.cluster.get(f"/apis/apps/v1/namespaces/{self.name}/deployments/web")
        return str(found["spec"]["template"]["spec"]["containers"][0]["image"]) if found else ""


def document(kind: str, name: str, **spec: Any) -> dict[str, object]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def shop(parts_folder: Path, gitea: Gitea, kubeconfig: Path) -> Iterator[Shop]:
    folder = parts_folder / "ship-by-pull"
    folder.mkdir()
    with RedisServer(folder) as redis:
        made = Shop(folder, "ship-by-pull", gitea, kubeconfig, redis)
        try:
            made.start()
            yield made
        finally:
            made.stop()


def test_the_image_is_proposed_and_a_merge_brings_it_to_the_cluster(shop: Shop) -> None:
    shipped = shop.command("ship", "1.1.0", "--gitops")
    assert shipped.returncode == 0, shipped.stderr
    assert f"published {shop.image}:1.1.0@sha256:" in shipped.stdout
    until(lambda: shop.titles() == ["web 1.1.0"], show=shop.windlass.log)
    assert shop.running().endswith(":1.0.0"), "nothing reaches the cluster before the merge"
    (pull,) = shop.pulls()
    assert f"{shop.image}:1.1.0" in pull["body"]
    shop.forge.merge(shop.name, pull["number"])
    until(lambda: shop.running() == f"{shop.image}:1.1.0", show=shop.windlass.log)


def test_who_follows_git_is_not_pushed_to_unless_forced_and_says_so_before_anything_is_built(shop: Shop) -> None:
    before = shop.registry.requests("PUT")
    refused = shop.command("ship", "1.3.0", "--push", "--application", shop.name)
    assert (refused.returncode, "follows Git by itself" in refused.stderr) == (1, True), refused.stderr
    assert shop.registry.requests("PUT") == before


def test_what_is_only_built_is_proposed_once_the_registry_itself_tells_of_it(shop: Shop) -> None:
    built = shop.command("build", "1.4.0", "--output", "json")
    assert built.returncode == 0, built.stderr
    assert json.loads(built.stdout)["digest"].startswith("sha256:")
    until(lambda: shop.titles() == ["web 1.4.0"], show=shop.windlass.log)


def test_a_password_is_in_no_log(shop: Shop) -> None:
    for said in (shop.windlass.log(), shop.command("build", "1.4.1", "--output", "json").stderr):
        assert PASSWORD not in said
        assert TOKEN not in said
