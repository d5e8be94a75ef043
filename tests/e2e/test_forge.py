"""On a real forge: its own signed webhooks, a private repository, commit statuses, a merged pull request, a rewind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.test_order import deployment
from tests.e2e.world import config_map
from tests.parts.cluster import Cluster
from tests.parts.git import WorkTree
from tests.parts.gitea import Gitea
from tests.parts.redis_server import RedisServer
from tests.parts.windlass import Windlass, application, cluster, repository

pytestmark = pytest.mark.e2e


class Shop:
    """A private repository on the forge, followed by one application."""

    def __init__(self, folder: Path, name: str, forge: Gitea, kubeconfig: Path, redis: RedisServer) -> None:
        self.name, self.forge = name, forge
        self.cluster = Cluster(folder, str(kubeconfig), nodes=0)
        remote = forge.create_repository(name, private=True)
        self.work = WorkTree(folder / "work", remote.push_url)
        namespace = f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n"
        self.first = self.work.commit_and_push({"namespace.yaml": namespace, "a.yaml": config_map("a", "1")})
        self.windlass = Windlass(folder / "windlass", redis.url, TOKEN=forge.token, WRONG="none")
        self.url, self.kubeconfig = remote.clone_url, kubeconfig
        self.write(credentials="TOKEN")
        self.windlass.start()
        forge.create_webhook(name, f"{self.windlass.url}/webhooks/{name}", self.windlass.secret)
        self.until(lambda: self.windlass.revision(name) == self.first)

    def write(self, *, credentials: str) -> None:
        """The documents, once who runs goes by them."""
        events = {"worker": "documents.loaded", "service": "documents.used"}
        before = {name: self.windlass.log(name).count(event) for name, event in events.items()}
        read, said = {"token": {"env": credentials}}, {"token": {"env": "TOKEN"}}
        self.windlass.write(
            repository(self.name, self.url, credentials=read, status=said),
            cluster("production", self.kubeconfig),
            application(self.name, repository=self.name, cluster="production", namespace=self.name),
        )
        if self.windlass.service:
            self.until(
                lambda: all(self.windlass.log(name).count(event) > before[name] for name, event in events.items())
            )

    def until(self, true: Any, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, self.windlass.log()[-4000:]
            time.sleep(0.05)

    def value(self, name: str) -> str | None:
        found = self.cluster.get(f"/api/v1/namespaces/{self.name}/configmaps/{name}")
        return found["data"]["value"] if found else None

    def status(self, commit: str) -> tuple[str, str, str]:
        """The newest status of a commit: state, context, description."""
        found = self.forge.statuses(self.name, commit)
        return (found[0]["status"], found[0]["context"], found[0]["description"]) if found else ("", "", "")


@pytest.fixture
def shop(parts_folder: Path, unique: str, gitea: Gitea, kubeconfig: Path) -> Iterator[Shop]:
    folder = parts_folder / unique
    folder.mkdir()
    with RedisServer(folder) as redis:
        made = Shop(folder, unique, gitea, kubeconfig, redis)
        try:
            yield made
        finally:
            made.windlass.stop()


def test_a_push_is_applied_and_the_commit_says_so(shop: Shop) -> None:
    commit = shop.work.commit_and_push({"a.yaml": config_map("a", "2")})
    shop.until(lambda: shop.value("a") == "2")
    shop.until(lambda: shop.status(commit)[0] == "success")
    _, context, description = shop.status(commit)
    assert context == "windlass/production"
    assert description.startswith("1 application applied in ")


def test_a_commit_that_can_not_be_applied_says_why(shop: Shop) -> None:
    bad = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: bad\ndata: 3\n"
    commit = shop.work.commit_and_push({"bad.yaml": bad, "b.yaml": config_map("b", "1")})
    shop.until(lambda: shop.status(commit)[0] == "failure")
    assert "ConfigMap/" in shop.status(commit)[2]
    assert shop.value("b") == "1"


def rollout(*, cpu: str) -> str:
    body = yaml.safe_load(deployment("web", cpu=cpu))
    body["spec"]["progressDeadlineSeconds"] = 1
    return yaml.safe_dump(body)


def test_a_commit_is_pending_until_it_is_healthy_and_fails_with_the_reason(shop: Shop) -> None:
    good = shop.work.commit_and_push({"web.yaml": rollout(cpu="10m")})
    shop.until(lambda: shop.status(good)[0] == "success", 90)
    states = [said["status"] for said in reversed(shop.forge.statuses(shop.name, good))]
    assert set(states) <= {"pending", "success"}
    assert "healthy after" in shop.status(good)[2]
    bad = shop.work.commit_and_push({"web.yaml": rollout(cpu="10000")})
    shop.until(lambda: shop.status(bad)[0] == "failure", 90)
    shop.until(lambda: "Unschedulable: 0/" in shop.status(bad)[2], 90)
    mended = shop.work.commit_and_push({"web.yaml": rollout(cpu="20m")})
    shop.until(lambda: shop.status(mended)[0] == "success", 90)
    assert shop.status(good)[0] == "success"
    assert shop.status(bad)[0] == "failure"


def test_a_commit_that_is_overtaken_before_it_is_healthy_is_not_pending_for_ever(shop: Shop) -> None:
    stuck = shop.work.commit_and_push({"web.yaml": deployment("web", cpu="10000")})
    shop.until(lambda: shop.status(stuck)[0] == "pending", 60)
    mended = shop.work.commit_and_push({"web.yaml": deployment("web")})
    shop.until(lambda: shop.status(stuck)[0] == "error", 60)
    assert shop.status(stuck)[2] == f"superseded by {mended[:10]} before it was healthy"
    shop.until(lambda: shop.status(mended)[0] == "success", 90)


def test_a_commit_that_can_not_be_read_says_so_until_it_can(shop: Shop) -> None:
    shop.write(credentials="WRONG")
    commit = shop.work.commit_and_push({"a.yaml": config_map("a", "2")})
    shop.until(lambda: shop.status(commit)[0] == "failure", 60)
    assert shop.status(commit)[2].startswith("source ")
    shop.write(credentials="TOKEN")
    shop.until(lambda: shop.status(commit)[0] == "success", 60)


def test_a_merged_pull_request_is_applied(shop: Shop) -> None:
    shop.work.git("checkout", "-q", "-b", "change")
    shop.work.commit({"a.yaml": config_map("a", "merged")})
    shop.work.push(ref="change")
    number = shop.forge.create_pull_request(shop.name, "change", "Change a")
    path = f"/repos/windlass/{shop.name}/pulls/{number}"
    shop.until(lambda: shop.forge.api("GET", path)["mergeable"])
    assert shop.value("a") == "1"
    shop.forge.merge(shop.name, number)
    shop.until(lambda: shop.value("a") == "merged")


def test_a_push_back_to_an_older_commit_is_followed(shop: Shop) -> None:
    shop.work.commit_and_push({"a.yaml": config_map("a", "2")})
    shop.until(lambda: shop.value("a") == "2")
    shop.work.git("reset", "-q", "--hard", shop.first)
    shop.work.push(force=True)
    shop.until(lambda: shop.value("a") == "1")
