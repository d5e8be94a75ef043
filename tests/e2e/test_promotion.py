"""The GitOps pipeline, whole, on a real forge: CI says that an image was published, a pull request names it, it is merged, the
cluster follows."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts.cluster import Cluster
from tests.parts.git import WorkTree
from tests.parts.gitea import ADMIN, Gitea
from tests.parts.redis_server import RedisServer
from tests.parts.waiting import until
from tests.parts.windlass import API_VERSION, Windlass, application, cluster, repository

pytestmark = pytest.mark.e2e

IMAGE = "registry.example/shop/web"
WEB = """# the shop's web server
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: registry.example/shop/web:1.0.0   # set by promotion
"""


class Pipeline:
    """A manifest repository on the forge, an application that follows it, and a promotion that writes to it."""

    def __init__(
        self, folder: Path, name: str, forge: Gitea, kubeconfig: Path, redis: RedisServer, **pull_request: Any
    ) -> None:
        self.name, self.forge = name, forge
        self.cluster = Cluster(folder, str(kubeconfig), nodes=0)
        remote = forge.create_repository(name, private=True)
        self.work = WorkTree(folder / "work", remote.push_url)
        namespace = f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n"
        first = self.work.commit_and_push({"shop/namespace.yaml": namespace, "shop/web.yaml": WEB})
        self.windlass = Windlass(folder / "windlass", redis.url, TOKEN=forge.token, CI="a token of CI, of some length")
        token = {"token": {"env": "TOKEN"}}
        self.windlass.write(
            repository(name, remote.clone_url, credentials=token, status=token, pullRequests=token),
            cluster("production", kubeconfig),
            application(name, repository=name, path="shop", cluster="production", namespace=name),
            document(
                "Registry", "ci", {"type": "ci", "images": ["registry.example/shop/*"], "secrets": [{"env": "CI"}]}
            ),
            document(
                "Promotion",
                "web",
                {
                    "image": IMAGE,
                    "policy": {"order": "semver", "range": ">=1.0.0"},
                    "target": {"repository": name, "branch": "main", "path": "shop"},
                    "pullRequest": {"title": "web {{tag}}", **pull_request},
                },
            ),
        )
        self.windlass.start()
        forge.create_webhook(name, f"{self.windlass.url}/webhooks/{name}", self.windlass.secret)
        until(lambda: self.windlass.revision(name) == first, show=self.windlass.log)

    def publish(self, tag: str) -> tuple[int, dict[str, Any]]:
        """What CI does last."""
        body = json.dumps({"image": IMAGE, "tag": tag}).encode()
        request = urllib.request.Request(f"{self.windlass.url}/images", data=body)
        request.add_header("Authorization", f"Bearer {self.windlass.environment['CI']}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read())

    def pulls(self, state: str = "open") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.forge.api("GET", f"/repos/{ADMIN}/{self.name}/pulls?state={state}")
        return found

    def pull(self, title: str) -> dict[str, Any]:
        until(lambda: [p["title"] for p in self.pulls()] == [title], show=lambda: self.windlass.log("worker")[-4000:])
        return self.pulls()[0]

    def told(self, number: int, what: str) -> bool:
        """Does one comment say what became of the merge?"""
        comments = self.forge.api("GET", f"/repos/{ADMIN}/{self.name}/issues/{number}/comments")
        outcomes = [one["body"] for one in comments if "windlass outcome" in one["body"]]
        assert len(outcomes) <= 1
        return any(f"`{self.name}` | `production`" in body and what in body for body in outcomes)

    def checkout(self, branch: str) -> None:
        self.work.git("fetch", "-q", "origin", branch)
        self.work.git("checkout", "-q", "--detach", "FETCH_HEAD")

    def image(self) -> str:
        found = self.cluster.get(f"/apis/apps/v1/namespaces/{self.name}/deployments/web")
        assert found is not None
        return str(found["spec"]["template"]["spec"]["containers"][0]["image"])


def document(kind: str, name: str, spec: dict[str, Any]) -> dict[str, object]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


@pytest.fixture
def pipeline(
    parts_folder: Path, unique: str, gitea: Gitea, kubeconfig: Path, redis_server: RedisServer, redis_url: str
) -> Iterator[Pipeline]:
    assert redis_url
    folder = parts_folder / unique
    folder.mkdir()
    made = Pipeline(folder, unique, gitea, kubeconfig, redis_server)
    try:
        yield made
    finally:
        made.windlass.stop()


def test_it_merges_itself_once_its_plan_is_good(
    parts_folder: Path, unique: str, gitea: Gitea, kubeconfig: Path, redis_server: RedisServer, redis_url: str
) -> None:
    assert redis_url
    folder = parts_folder / unique
    folder.mkdir()
    pipeline = Pipeline(folder, unique, gitea, kubeconfig, redis_server, autoMerge=True)
    try:
        pipeline.publish("1.1.0")
        until(lambda: pipeline.image().endswith(":1.1.0"), show=lambda: pipeline.windlass.log("worker")[-4000:])
        (pull,) = pipeline.pulls("closed")
        statuses = pipeline.forge.statuses(pipeline.name, pull["head"]["sha"])
        assert next(one["status"] for one in statuses if one["context"] == "windlass/plan") == "success"
        until(lambda: pipeline.told(pull["number"], "healthy") or pipeline.told(pull["number"], "degraded"))
    finally:
        pipeline.windlass.stop()


def test_from_a_published_image_to_the_cluster_by_one_pull_request(pipeline: Pipeline) -> None:
    status, answer = pipeline.publish("1.1.0")
    assert (status, [row["promotion"] for row in answer["promotions"]]) == (202, ["web"])
    first = pipeline.pull("web 1.1.0")

    branch = first["head"]["ref"]
    pipeline.checkout(branch)
    reviewed = pipeline.work.commit({"shop/notes.md": "by a reviewer\n"}, "a suggestion")
    pipeline.work.git("push", "-q", "origin", f"HEAD:{branch}")
    pipeline.publish("1.2.0")
    second = pipeline.pull("web 1.2.0")
    assert second["number"] == first["number"]
    commits = pipeline.forge.api("GET", f"/repos/{ADMIN}/{pipeline.name}/pulls/{second['number']}/commits")
    assert reviewed in [commit["sha"] for commit in commits]

    pipeline.publish("1.1.5")
    time.sleep(1)
    assert [pull["title"] for pull in pipeline.pulls()] == ["web 1.2.0"], "an older image takes nothing's place"
    assert pipeline.image() == f"{IMAGE}:1.0.0"

    pipeline.forge.merge(pipeline.name, second["number"])
    until(lambda: pipeline.image() == f"{IMAGE}:1.2.0", show=lambda: pipeline.windlass.log("worker")[-4000:])
    pipeline.checkout("main")
    assert (pipeline.work.path / "shop/web.yaml").read_text() == WEB.replace(":1.0.0 ", ":1.2.0 ")
    until(
        lambda: pipeline.told(second["number"], "| healthy at `"), show=lambda: pipeline.windlass.log("worker")[-4000:]
    )
    pipeline.publish("1.2.0")
    time.sleep(1)
    assert pipeline.pulls() == []

    back = pipeline.windlass.run("rollback", pipeline.name, "--pull-request")
    assert back.returncode == 0, back.stderr
    (pull,) = pipeline.pulls()
    assert f"{pull['html_url']} takes" in back.stdout
    pipeline.forge.merge(pipeline.name, pull["number"])
    until(lambda: pipeline.image() == f"{IMAGE}:1.0.0", show=lambda: pipeline.windlass.log("worker")[-4000:])


def test_closed_without_a_merge_means_no_until_a_newer_image(pipeline: Pipeline) -> None:
    pipeline.publish("2.0.0")
    pull = pipeline.pull("web 2.0.0")
    pipeline.forge.api("PATCH", f"/repos/{ADMIN}/{pipeline.name}/pulls/{pull['number']}", {"state": "closed"})
    log = pipeline.windlass.log
    until(lambda: '"phase":"Declined"' in log("worker"), show=lambda: log("worker")[-4000:], seconds=45)
    pipeline.publish("2.0.0")
    time.sleep(2)
    assert pipeline.pulls() == []
    pipeline.publish("2.0.1")
    assert pipeline.pull("web 2.0.1")["number"] != pull["number"]
