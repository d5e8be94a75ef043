"""A pull request is told what merging it would change, on a real forge and a real cluster, before anybody merges."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.parts.git import WorkTree
from tests.parts.gitea import ADMIN, PASSWORD, Gitea
from tests.parts.redis_server import RedisServer
from tests.parts.waiting import until
from tests.parts.windlass import Windlass, application, cluster, repository
from windlass.queue import previews

pytestmark = pytest.mark.e2e

SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {{name: login}}\nstringData: {{password: {}}}\n"


def config(value: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: shop}}\ndata: {{greeting: '{value}'}}\n"


class Review:
    """A repository on the forge, an application that follows its main branch, and branches that are proposed."""

    def __init__(
        self, folder: Path, name: str, forge: Gitea, kubeconfig: Path, redis: RedisServer, *, webhook: bool = True
    ) -> None:
        self.name, self.forge = name, forge
        remote = forge.create_repository(name)
        self.work = WorkTree(folder / "work", remote.push_url)
        namespace = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"
        files = {
            "shop/namespace.yaml": namespace,
            "shop/config.yaml": config("Ahoy"),
            "shop/login.yaml": SECRET.format("old-word"),
        }
        first = self.work.commit_and_push(files)
        self.windlass = Windlass(folder / "windlass", redis.url, TOKEN=forge.token, WINDLASS_POLL="2")
        token = {"token": {"env": "TOKEN"}}
        self.windlass.write(
            repository(name, remote.clone_url, credentials=token, status=token, pullRequests=token),
            cluster("production", kubeconfig),
            application(name, repository=name, path="shop", cluster="production", namespace=name),
        )
        self.windlass.start()
        if webhook:
            forge.create_webhook(name, f"{self.windlass.url}/webhooks/{name}", self.windlass.secret)
        until(lambda: self.windlass.revision(name) == first, show=self.windlass.log)

    def propose(self, branch: str, files: dict[str, str | bytes | None]) -> int:
        """A pull request; its number."""
        self.work.git("checkout", "-q", "-B", branch, "origin/main")
        self.work.commit(files, branch)
        self.work.git("push", "-q", "origin", f"HEAD:{branch}")
        return self.forge.create_pull_request(self.name, branch, branch)

    def comments(self, number: int) -> list[str]:
        found = self.forge.api("GET", f"/repos/{ADMIN}/{self.name}/issues/{number}/comments")
        return [comment["body"] for comment in found]

    def told(self, number: int, *words: str) -> str:
        """The one comment, once it says all of these."""

        def says() -> bool:
            found = self.comments(number)
            return len(found) == 1 and all(word in found[0] for word in words)

        until(says, show=lambda: f"{self.comments(number)}\n{self.windlass.log('worker')[-4000:]}")
        return self.comments(number)[0]

    def status(self, commit: str) -> dict[str, Any]:
        def plans() -> list[dict[str, Any]]:
            return [one for one in self.forge.statuses(self.name, commit) if one["context"] == "windlass/plan"]

        until(lambda: plans() and plans()[0]["status"] != "pending", show=lambda: self.windlass.log("worker")[-4000:])
        return next(one for one in plans() if one["status"] != "pending")


@pytest.fixture(scope="module")
def review(
    parts_folder: Path, gitea: Gitea, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Review]:
    folder = parts_folder / "review"
    folder.mkdir()
    with RedisServer(folder) as redis:
        made = Review(folder, "review-of-pulls", gitea, kubeconfig, redis)
        try:
            yield made
        finally:
            made.windlass.stop()


def test_one_comment_says_what_would_change_and_follows_the_branch(review: Review) -> None:
    number = review.propose("greeting", {"shop/config.yaml": config("Ahoy there")})
    review.told(number, "1 changed", "+  greeting: Ahoy there", "-  greeting: Ahoy")
    assert review.status(review.work.head)["status"] == "success"
    assert review.status(review.work.head)["description"] == "1 changed in 1 application"
    review.work.commit(
        {"shop/config.yaml": config("Moin"), "shop/more.yaml": config("x").replace("shop}", "more}")}, "more"
    )
    review.work.git("push", "-q", "origin", "HEAD:greeting")
    text = review.told(number, "1 new, 1 changed", "+  greeting: Moin")
    assert "Ahoy there" not in text
    live = review.windlass.run("diff", review.name)
    assert live.returncode == 0, f"nothing was applied by a look: {live.stdout}"


def test_no_value_of_a_secret_is_told(review: Review) -> None:
    number = review.propose("secret", {"shop/login.yaml": SECRET.format("new-word")})
    text = review.told(number, "1 changed", "Secret/", "its value changes")
    assert "word" not in text.replace("password", "")


def test_what_the_cluster_would_refuse_fails_the_status_and_what_is_not_there_yet_does_not(review: Review) -> None:
    service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 70000}]}\n"
    number = review.propose("refused", {"shop/service.yaml": service})
    review.told(number, "1 refused", "70000")
    state = review.status(review.work.head)
    assert (state["status"], "70000" in state["description"]) == ("failure", True)
    place = "apiVersion: v1\nkind: Namespace\nmetadata: {name: review-not-there}\n"
    inside = config("x").replace("{name: shop}", "{name: shop, namespace: review-not-there}")
    number = review.propose("namespace", {"shop/place.yaml": place, "shop/inside.yaml": inside})
    review.told(number, "2 new")
    assert review.status(review.work.head)["status"] == "success"


def test_a_push_to_the_base_has_those_compared_anew_that_touch_what_it_changed(review: Review) -> None:
    touched = review.propose("touched", {"shop/parrot.yaml": config("squawk").replace("shop}", "parrot}")})
    review.told(touched, "1 new")
    review.propose("only-words", {"README.md": "words\n"})
    words = review.work.head
    review.status(words)
    said = len(review.forge.statuses(review.name, words))
    review.work.git("checkout", "-q", "-B", "main", "origin/main")
    pushed = review.work.commit_and_push({"shop/parrot.yaml": config("hello").replace("shop}", "parrot}")})
    until(lambda: review.windlass.revision(review.name) == pushed, show=review.windlass.log)
    review.told(touched, "does not go together with its base")
    assert len(review.forge.statuses(review.name, words)) == said


def test_what_touches_no_application_is_told_nothing(review: Review) -> None:
    number = review.propose("words", {"README.md": "words\n"})
    assert review.status(review.work.head)["description"] == "nothing that is applied would change"
    assert review.comments(number) == []


def test_a_fork_is_rendered_and_not_shown_the_cluster_until_somebody_read_that_commit(
    review: Review, tmp_path: Path
) -> None:
    review.forge.api("POST", "/orgs", {"username": "strangers"})
    review.forge.api("POST", f"/repos/{ADMIN}/{review.name}/forks", {"organization": "strangers"})
    url = f"{review.forge.url}/strangers/{review.name}.git".replace("://", f"://{ADMIN}:{PASSWORD}@")
    fork = WorkTree(tmp_path / "fork", url)
    until(lambda: "main" in fork.git("ls-remote", "origin"))
    fork.git("fetch", "-q", "origin", "main")
    fork.git("checkout", "-q", "-B", "evil", "FETCH_HEAD")
    commit = fork.commit({"shop/config.yaml": config("```\n# not a heading")}, "evil")
    fork.git("push", "-q", "origin", "HEAD:evil")
    number = review.forge.create_pull_request(review.name, "strangers:evil", "evil")
    text = review.told(number, "It comes from a fork", "1 changed")
    assert "resourceVersion" not in text
    assert "applyset" not in text, "no word of the cluster's"
    with Redis.from_url(review.windlass.environment["REDIS_URL"]) as redis:
        redis.set(previews.approved_key(previews.preview_id(review.name, number)), commit)
    before = review.windlass.log("worker").count('"event":"pull.planned"')
    assert review.windlass.run("plan", review.name, str(number)).returncode == 0
    until(lambda: review.windlass.log("worker").count('"event":"pull.planned"') > before)
    assert "It comes from a fork" in review.comments(number)[0], "who writes Redis approves nothing"
    approved = review.windlass.run("plan", review.name, str(number), "--approve", commit)
    assert approved.returncode == 0, approved.stderr
    until(lambda: "It comes from a fork" not in review.comments(number)[0])
    fork.commit({"shop/config.yaml": config("another")}, "not the one that was read")
    fork.git("push", "-q", "origin", "HEAD:evil")
    review.told(number, "It comes from a fork", "another")


def test_a_pull_request_whose_webhook_never_arrived_is_found_by_the_poll(
    parts_folder: Path, gitea: Gitea, kubeconfig: Path
) -> None:
    folder = parts_folder / "review-missed"
    folder.mkdir()
    with RedisServer(folder) as redis:
        review = Review(folder, "review-missed", gitea, kubeconfig, redis, webhook=False)
        try:
            number = review.propose("greeting", {"shop/config.yaml": config("Ahoy there")})
            review.told(number, "1 changed", "+  greeting: Ahoy there")
            review.work.commit({"shop/config.yaml": config("Moin")}, "more")
            review.work.git("push", "-q", "origin", "HEAD:greeting")
            review.told(number, "+  greeting: Moin")
        finally:
            review.windlass.stop()
