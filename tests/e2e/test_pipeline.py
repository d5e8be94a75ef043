"""A push to the code's repository: built by a real builder, published to a real registry, proposed to the manifests."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.parts import builder
from tests.parts.git import WorkTree
from tests.parts.gitea import ADMIN, Gitea
from tests.parts.redis_server import RedisServer
from tests.parts.registry import Registry
from tests.parts.signing import signers
from tests.parts.waiting import until
from tests.parts.windlass import API_VERSION, Windlass, repository

pytestmark = pytest.mark.e2e

CODE, MANIFESTS = "pipeline-code", "pipeline-manifests"
WORD = "registry-password"
DOCKERFILE = "FROM scratch\nCOPY site /site\n"


def document(kind: str, name: str, **spec: Any) -> dict[str, object]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


class Delivery:
    def __init__(self, folder: Path, forge: Gitea, registry: Registry, redis: RedisServer) -> None:
        self.forge, self.image = forge, f"{registry.host}/shop/web"
        code, manifests = forge.create_repository(CODE), forge.create_repository(MANIFESTS)
        web = f"containers:\n  - image: {self.image}:none\n"
        WorkTree(folder / "manifests", manifests.push_url).commit_and_push({"web.yaml": web})
        self.code = WorkTree(folder / "code", code.push_url)
        self.code.commit_and_push({"README.md": "nothing to build yet\n"})
        (folder / "config.json").write_text(
            json.dumps({"auths": {registry.host: {"auth": base64.b64encode(f"ci:{WORD}".encode()).decode()}}})
        )
        self.windlass = Windlass(
            folder / "windlass", redis.url, TOKEN=forge.token, **builder.environment(folder / "builder")
        )
        self.clone_url, self.folder, self.manifests_url = code.clone_url, folder, manifests.clone_url
        self.write()
        self.windlass.start()
        forge.create_webhook(CODE, f"{self.windlass.url}/webhooks/{CODE}", self.windlass.secret)

    def write(self, **asked_of_code: Any) -> None:
        """The documents; ``asked_of_code``: more of the code's repository."""
        token = {"token": {"env": "TOKEN"}}
        self.windlass.write(
            repository(CODE, self.clone_url, credentials=token, status=token, **asked_of_code),
            repository(MANIFESTS, self.manifests_url, credentials=token, pullRequests=token),
            document(
                "Pipeline",
                "web",
                source={"repository": CODE, "paths": ["Dockerfile", "site"]},
                image=self.image,
                insecure=True,
                credentials={"file": str(self.folder / "config.json")},
            ),
            document(
                "Promotion", "web", image=self.image, policy={"order": "newest"}, target={"repository": MANIFESTS}
            ),
        )

    def status(self, commit: str) -> dict[str, Any]:
        def said() -> list[dict[str, Any]]:
            found = self.forge.statuses(CODE, commit)
            return [one for one in found if one["context"] == "windlass/build/web" and one["status"] != "pending"]

        until(lambda: bool(said()), show=lambda: self.windlass.log("worker")[-4000:])
        return said()[0]

    def processed(self) -> str:
        """The commit that was looked at last."""
        with redis.Redis.from_url(self.windlass.environment["REDIS_URL"]) as connection:
            return (connection.hget("windlass:source:pipeline_web", "processed") or b"").decode()

    def proposed(self) -> list[str]:
        pulls = self.forge.api("GET", f"/repos/{ADMIN}/{MANIFESTS}/pulls?state=open")
        return [pull["title"] for pull in pulls]


@pytest.fixture(scope="module")
def delivery(parts_folder: Path, gitea: Gitea) -> Iterator[Delivery]:
    folder = parts_folder / "pipeline"
    folder.mkdir()
    with RedisServer(folder) as redis, Registry(folder / "registry") as registry:
        made = Delivery(folder, gitea, registry, redis)
        try:
            yield made
        finally:
            made.windlass.stop()


def test_a_push_is_built_published_and_proposed_and_a_push_that_changes_no_file_of_it_is_not(
    delivery: Delivery,
) -> None:
    commit = delivery.code.commit_and_push({"Dockerfile": DOCKERFILE, "site/index.html": "Ahoy\n"})
    assert delivery.status(commit)["status"] == "success"
    until(lambda: delivery.proposed() == [f"web: web {commit}"], show=lambda: delivery.windlass.log("worker")[-4000:])
    said = delivery.windlass.run("logs", "web", "--follow").stdout
    assert "COPY site /site" in said
    assert f"published {delivery.image}:{commit}@sha256:" in said
    other = delivery.code.commit_and_push({"README.md": "only words\n"})
    until(lambda: delivery.processed() == other, show=lambda: delivery.windlass.log("worker")[-4000:])
    assert [one["context"] for one in delivery.forge.statuses(CODE, other)] == []


def test_what_nobody_vouches_for_does_not_run_here(delivery: Delivery) -> None:
    commit = delivery.code.commit_and_push({"Dockerfile": DOCKERFILE + "RUN echo pwned > /proof\n"})
    state = delivery.status(commit)
    assert state["status"] == "failure"
    assert "line 3 says RUN" in delivery.windlass.run("logs", "web").stderr


def test_no_log_shows_the_registrys_password(delivery: Delivery) -> None:
    assert WORD not in delivery.windlass.log()
    commit = delivery.code.commit_and_push({"Dockerfile": f"FROM scratch\nCOPY site /site\nLABEL word={WORD}\n"})
    assert delivery.status(commit)["status"] == "success"
    said = delivery.windlass.run("logs", "web").stdout
    assert WORD not in said
    assert "(hidden)" in said


def test_only_what_is_signed_as_the_repository_asks_is_built(delivery: Delivery) -> None:
    with signers() as make:
        alice = make.ssh("alice")
        loaded = delivery.windlass.log("worker").count("documents.loaded")
        delivery.write(signedCommits={"keys": [alice.document()]})
        until(lambda: delivery.windlass.log("worker").count("documents.loaded") > loaded)
        unsigned = delivery.code.commit_and_push({"site/index.html": "Arr\n"})
        assert delivery.status(unsigned)["status"] == "failure"
        assert "found no signature" in delivery.status(unsigned)["description"]
        alice.use(delivery.code)
        signed = delivery.code.commit_and_push({"site/index.html": "Ahoy again\n"})
        assert delivery.status(signed)["status"] == "success"
